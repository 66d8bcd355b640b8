import type { Socket } from 'node:net';

/** What one turn of the event loop begins with: a busy loop turns slowly, and takes fewer in a second. */
const OPENED_PER_TURN = 16;
/** gRPC's clients give up after 20 s. A handshake with somebody who is about to is lost, and delays the next. */
const PATIENCE_MS = 18_000;

/**
 * Connections that were accepted, unread, and wait to be opened: some at each turn of the event loop, first come first served.
 * Thousands that come at once would otherwise all be half open for as long as all of them take, while their clients give up.
 */
export class OpeningQueue {
  readonly #open: (socket: Socket) => void;
  readonly #now: () => number;
  /** Since when each waits. */
  readonly #waiting = new Map<Socket, number>();
  #scheduled = false;

  constructor(open: (socket: Socket) => void, now: () => number = () => performance.now()) {
    this.#open = open;
    this.#now = now;
  }

  get size(): number {
    return this.#waiting.size;
  }

  add(socket: Socket): void {
    this.#waiting.set(socket, this.#now());
    this.#schedule();
  }

  /** Its client will find another replica sooner than its turn comes here. */
  clear(): void {
    for (const socket of this.#waiting.keys()) socket.destroy();
    this.#waiting.clear();
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.size === 0) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    const oldest = this.#now() - PATIENCE_MS;
    let left = OPENED_PER_TURN;
    for (const [socket, since] of this.#waiting) {
      this.#waiting.delete(socket);
      if (since < oldest) socket.destroy();
      if (socket.destroyed) continue;
      this.#open(socket);
      left -= 1;
      if (left === 0) break;
    }
    this.#schedule();
  }
}
