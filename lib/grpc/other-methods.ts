import type { handleBidiStreamingCall, Server } from '@grpc/grpc-js';

/** Makes the handler of a method that no service of the server has. Messages are bytes. */
export type HandleOther = (method: string) => handleBidiStreamingCall<Buffer, Buffer>;

type Handlers = Map<string, unknown>;

/**
 * Gives a grpc-js server a handler for all methods that it has no service for. grpc-js has no such thing in its public API, so this
 * stands in for the map in which it looks handlers up; a version that looks elsewhere fails at once, not in use.
 */
export function handleOtherMethods(server: Server, handle: HandleOther): void {
  const inner = server as unknown as { handlers: Handlers };
  if (!(inner.handlers instanceof Map)) throw new Error('this version of grpc-js keeps its handlers elsewhere');
  inner.handlers = new WithOthers(inner.handlers, handle);
}

class WithOthers extends Map<string, unknown> {
  readonly #handle: HandleOther;

  constructor(own: Handlers, handle: HandleOther) {
    super(own);
    this.#handle = handle;
  }

  override get(method: string): unknown {
    return super.get(method) ?? { func: this.#handle(method), serialize: same, deserialize: same, type: 'bidi', path: method };
  }
}

function same(message: Buffer): Buffer {
  return message;
}
