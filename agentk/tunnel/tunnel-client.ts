import { type ChannelCredentials, type ChannelOptions, makeGenericClientConstructor } from '@grpc/grpc-js';
import { decodeBytesMessage, encodeBytesMessage } from '../../lib/grpc/bytes-message.ts';
import { type ServeRequest, ServeResponse, type TunnelClient, TunnelService } from '../../proto/gen/kas/agent/v1/tunnel.ts';

/** Numbers of `data`, see tunnel.proto. */
const FROM_AGENT = 4;
const TO_AGENT = 2;

/** The service as generated, with its bytes passed on at less expense. */
const definition = {
  serve: {
    ...TunnelService.serve,
    requestSerialize(value: ServeRequest): Buffer {
      const { message } = value;
      if (message?.$case === 'data') return encodeBytesMessage(FROM_AGENT, message.value);
      return TunnelService.serve.requestSerialize(value);
    },
    responseDeserialize(message: Buffer): ServeResponse {
      const value = decodeBytesMessage(TO_AGENT, message);
      return value === undefined ? ServeResponse.decode(message) : { message: { $case: 'data', value } };
    },
  },
};

const Client = makeGenericClientConstructor(definition, 'Tunnel');

export function createTunnelClient(target: string, credentials: ChannelCredentials, options: ChannelOptions): TunnelClient {
  return new Client(target, credentials, options) as unknown as TunnelClient;
}
