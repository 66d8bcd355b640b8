/** What `Sessions` watches over. */
export interface WatchedSession {
  /** Called a few times a second, with `performance.now()`. */
  tick(now: number): void;
  /** Ends by itself, soon. */
  end(): void;
}

const TICK_MS = 250;
/** So many a second end when kas stops: as many connect to other replicas. */
const ENDED_PER_SECOND = 2_000;

/** The sessions of this kas: one timer for all that depends on time, and their end spread over the grace. */
export class Sessions {
  readonly #sessions = new Set<WatchedSession>();
  readonly #stopping: AbortSignal;
  readonly #drainMs: number;
  #timer: NodeJS.Timeout | undefined;
  #draining: NodeJS.Timeout | undefined;

  /** @param drainMs how long the end of all may take once `draining` fired */
  constructor(draining: AbortSignal, drainMs: number) {
    this.#stopping = draining;
    this.#drainMs = drainMs;
    draining.addEventListener('abort', () => this.#drain(), { once: true });
  }

  /** The returned function is to be called when the session is over. */
  add(session: WatchedSession): () => void {
    this.#sessions.add(session);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
    // Its connection was there before kas began to stop.
    if (this.#stopping.aborted) queueMicrotask(() => session.end());
    return () => {
      this.#sessions.delete(session);
      if (this.#sessions.size > 0) return;
      clearInterval(this.#timer);
      clearTimeout(this.#draining);
      this.#timer = undefined;
      this.#draining = undefined;
    };
  }

  #tick(): void {
    const now = performance.now();
    for (const session of this.#sessions) session.tick(now);
  }

  #drain(): void {
    const sessions = [...this.#sessions];
    const stepMs = 10;
    const steps = Math.max(1, Math.min(this.#drainMs, (sessions.length / ENDED_PER_SECOND) * 1_000) / stepMs);
    const share = Math.ceil(sessions.length / steps);
    const step = (): void => {
      for (const session of sessions.splice(0, share)) session.end();
      if (sessions.length > 0) this.#draining = setTimeout(step, stepMs);
    };
    step();
  }
}
