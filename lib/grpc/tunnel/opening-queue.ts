import type { Socket } from 'node:net';

/** What one turn of the event loop begins with: a busy loop turns slowly, and takes fewer in a second. */
const OPENED_PER_TURN = 16;

/**
 * Connections that were accepted, unread, and wait to be opened: some at each turn of the event loop, first come first served.
 * Thousands that come at once would otherwise all be half open for as long as all of them take, while their clients give up.
 */
export class OpeningQueue {
  readonly #open: (socket: Socket) => void;
  readonly #waiting = new Set<Socket>();
  #scheduled = false;

  constructor(open: (socket: Socket) => void) {
    this.#open = open;
  }

  get size(): number {
    return this.#waiting.size;
  }

  add(socket: Socket): void {
    this.#waiting.add(socket);
    this.#schedule();
  }

  /** Its client will find another replica sooner than its turn comes here. */
  clear(): void {
    for (const socket of this.#waiting) socket.destroy();
    this.#waiting.clear();
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.size === 0) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    let left = OPENED_PER_TURN;
    for (const socket of this.#waiting) {
      this.#waiting.delete(socket);
      if (!socket.destroyed) this.#open(socket);
      left -= 1;
      if (left === 0) break;
    }
    this.#schedule();
  }
}
