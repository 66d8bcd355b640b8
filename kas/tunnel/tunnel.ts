import { MessageQueue } from '../../lib/message-queue.ts';
import type { ServeRequest, ServeResponse } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { TunnelWire } from './agent-request.ts';

/** Who has taken a tunnel: hears all that the agent says on it. */
export interface TunnelUser {
  receive(message: ServeRequest): void;
  /** The stream has ended. */
  fail(error: unknown): void;
}

/** A stream that an agent opened, which waits for a request or carries one. */
export class Tunnel implements TunnelWire {
  readonly agentId: number;
  readonly #outgoing = new MessageQueue<ServeResponse>();
  #user: TunnelUser | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(agentId: number) {
    this.agentId = agentId;
  }

  /** What the agent is to be sent; ends when the tunnel is closed. */
  get outgoing(): AsyncIterable<ServeResponse> {
    return this.#outgoing;
  }

  /** Once. */
  use(user: TunnelUser): void {
    this.#user = user;
    // It may have ended between being given out and being used.
    if (this.#failure !== undefined) user.fail(this.#failure.error);
  }

  send(message: ServeResponse): void {
    this.#outgoing.push(message);
  }

  close(): void {
    this.#outgoing.end();
  }

  receive(message: ServeRequest): void {
    this.#user?.receive(message);
  }

  fail(error: unknown): void {
    this.#failure = { error };
    this.#user?.fail(error);
  }
}
