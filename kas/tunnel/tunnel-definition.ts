import { decodeBytesMessage, encodeBytesMessage } from '../../lib/grpc/bytes-message.ts';
import { ServeRequest, type ServeResponse, TunnelService } from '../../proto/gen/kas/agent/v1/tunnel.ts';

/** Numbers of `data`, see tunnel.proto. */
const FROM_AGENT = 4;
const TO_AGENT = 2;

/** The service as generated, with its bytes passed on at less expense. */
export const tunnelDefinition = {
  serve: {
    ...TunnelService.serve,
    requestDeserialize(message: Buffer): ServeRequest {
      const value = decodeBytesMessage(FROM_AGENT, message);
      return value === undefined ? ServeRequest.decode(message) : { message: { $case: 'data', value } };
    },
    responseSerialize(value: ServeResponse): Buffer {
      const { message } = value;
      if (message?.$case === 'data') return encodeBytesMessage(TO_AGENT, message.value);
      return TunnelService.serve.responseSerialize(value);
    },
  },
};
