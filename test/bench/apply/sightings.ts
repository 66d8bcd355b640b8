import type { Api, WatchedObject } from './api.ts';

interface Wish {
  readonly fits: (object: WatchedObject) => boolean;
  readonly resolve: (at: number) => void;
}

/** When objects were seen to be as wished, by a watch of the bench's own. */
export class Sightings implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #wishes = new Set<Wish>();
  #running: Promise<void> = Promise.resolve();

  /** `path` names the collection. Resolves when the watch is open. */
  static async open(api: Api, path: string): Promise<Sightings> {
    const sightings = new Sightings();
    const events = await api.watch(path, sightings.#stop.signal);
    sightings.#running = sightings.#follow(events);
    return sightings;
  }

  /** Milliseconds since the epoch of the first event from now on that fits. */
  async first(fits: Wish['fits'], signal: AbortSignal): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const giveUp = (): void => reject(signal.reason);
    signal.addEventListener('abort', giveUp, { once: true });
    const wish = { fits, resolve };
    this.#wishes.add(wish);
    try {
      return await promise;
    } finally {
      this.#wishes.delete(wish);
      signal.removeEventListener('abort', giveUp);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new DOMException('Enough was seen', 'AbortError'));
    await this.#running;
  }

  async #follow(events: AsyncIterable<WatchedObject>): Promise<void> {
    for await (const object of events) {
      const at = Date.now();
      for (const wish of this.#wishes) if (wish.fits(object)) wish.resolve(at);
    }
  }
}
