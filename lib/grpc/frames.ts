import type { ServerInterceptor } from '@grpc/grpc-js';

const HEAD_BYTES = 5;

/**
 * Messages of a stream as they go over the wire, each with its length in front (gRPC over HTTP/2, "Length-Prefixed-Message").
 * They may be sent to any number of streams: all of them hold these same bytes, however slowly they are read.
 */
export class Frames {
  readonly bytes: Buffer;

  /** @param messages encoded */
  constructor(messages: readonly Uint8Array[]) {
    const total = messages.reduce((sum, { length }) => sum + HEAD_BYTES + length, 0);
    const bytes = Buffer.allocUnsafeSlow(total);
    let offset = 0;
    for (const message of messages) {
      bytes[offset] = 0;
      bytes.writeUInt32BE(message.length, offset + 1);
      bytes.set(message, offset + HEAD_BYTES);
      offset += HEAD_BYTES + message.length;
    }
    this.bytes = bytes;
  }
}

/** What grpc-js makes bytes of a message with. */
interface SerializingCall {
  serializeMessage(value: unknown): Buffer;
}

/** Lets handlers write `Frames` instead of messages. grpc-js itself copies each message for each stream. */
export const framesInterceptor: ServerInterceptor = (_, call) => {
  const serializing = call as unknown as SerializingCall;
  const serialize = serializing.serializeMessage.bind(call);
  serializing.serializeMessage = (value) => (value instanceof Frames ? value.bytes : serialize(value));
  return call as unknown as ReturnType<ServerInterceptor>;
};
