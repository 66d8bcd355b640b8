import type { ServerInterceptor } from '@grpc/grpc-js';

/** What grpc-js puts messages together with, from the pieces in which they arrive. */
interface Decoder {
  write(data: Buffer): Buffer[];
  readPartialMessage: readonly Buffer[];
  readMessageRemaining: number;
}

/**
 * Lets go of the pieces of a message when it is complete. grpc-js keeps them until the next message begins, and with each the
 * 64 KiB that were read from the connection at once: of a slow stream for long enough that V8 takes them for old.
 */
export const readPiecesInterceptor: ServerInterceptor = (_, call) => {
  const { decoder } = call as unknown as { readonly decoder: Decoder };
  const write = decoder.write.bind(decoder);
  decoder.write = (data) => {
    const messages = write(data);
    if (decoder.readMessageRemaining === 0) decoder.readPartialMessage = [];
    return messages;
  };
  return call as unknown as ReturnType<ServerInterceptor>;
};
