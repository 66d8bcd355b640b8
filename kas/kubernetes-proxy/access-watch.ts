import { isDeepStrictEqual } from 'node:util';
import { toError, UnavailableError, UserError } from '../../lib/errors.ts';
import { jittered } from '../../lib/jitter.ts';
import type { Grant, ProxyAccess } from './access.ts';
import type { Credential } from './credential.ts';

export interface AccessWatchOptions {
  readonly access: ProxyAccess;
  /** Between two questions about a request, some percent more or less. */
  readonly periodMs: number;
}

export interface RunningAccess {
  readonly credential: Credential;
  /** What the request began with. */
  readonly granted: Grant;
  /** Called once, with why the request may not go on. */
  readonly onEnd: (error: Error) => void;
}

/** How many times in a period it is looked which requests are to be asked about. */
const LOOKS = 20;

/**
 * Asks again and again whether the credentials of requests still give what they gave, for as long as those run: a watch may last for
 * days. One timer serves them all, since most requests are over before the first question.
 */
export class AccessWatch {
  readonly #options: AccessWatchOptions;
  readonly #running = new Set<WatchedRequest>();
  readonly #unsubscribe: () => void;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: AccessWatchOptions) {
    this.#options = options;
    this.#unsubscribe = options.access.onChange(() => this.#look(Number.POSITIVE_INFINITY));
  }

  /** Dispose what it returns when the request has ended. */
  watch(running: RunningAccess): WatchedRequest {
    const request = new WatchedRequest(this.#options, running, () => this.#running.delete(request));
    this.#running.add(request);
    this.#schedule();
    return request;
  }

  /** No more questions are asked. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#unsubscribe();
    for (const request of this.#running) request[Symbol.dispose]();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed || this.#running.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#look(performance.now());
      this.#schedule();
    }, this.#options.periodMs / LOOKS);
    this.#timer.unref();
  }

  #look(now: number): void {
    for (const request of this.#running) request.askIfDue(now);
  }
}

/** A request that runs, and whether it may go on. */
export class WatchedRequest implements Disposable {
  readonly #options: AccessWatchOptions;
  readonly #running: RunningAccess;
  readonly #onDispose: () => void;
  #dueAt: number;
  #asking: AbortController | undefined;
  /** Something changed while it was asked. */
  #askAgain = false;
  #ended: Error | undefined;

  constructor(options: AccessWatchOptions, running: RunningAccess, onDispose: () => void) {
    this.#options = options;
    this.#running = running;
    this.#onDispose = onDispose;
    this.#dueAt = performance.now() + jittered(options.periodMs);
  }

  /** Why the request may not go on; undefined while it may. */
  get ended(): Error | undefined {
    return this.#ended;
  }

  askIfDue(now: number): void {
    if (now < this.#dueAt || this.#ended !== undefined) return;
    if (this.#asking === undefined) void this.#ask();
    else this.#askAgain ||= now === Number.POSITIVE_INFINITY;
  }

  [Symbol.dispose](): void {
    this.#onDispose();
    this.#asking?.abort(new DOMException('The request has ended', 'AbortError'));
  }

  async #ask(): Promise<void> {
    const asking = new AbortController();
    this.#asking = asking;
    let reason: Error | undefined;
    do {
      this.#askAgain = false;
      reason = await this.#whyNot(asking.signal);
      if (asking.signal.aborted) return;
    } while (this.#askAgain && reason === undefined);
    this.#asking = undefined;
    this.#dueAt = performance.now() + jittered(this.#options.periodMs);
    if (reason === undefined) return;
    this.#ended = reason;
    this.#running.onEnd(reason);
  }

  /** Undefined when nothing has changed. Whoever should answer and does not is no reason to end what was let in. */
  async #whyNot(signal: AbortSignal): Promise<Error | undefined> {
    const { credential, granted } = this.#running;
    try {
      const now = await this.#options.access.authorize(credential, signal);
      if (isDeepStrictEqual(now.impersonation, granted.impersonation)) return undefined;
      return new UserError('what this credential allows has changed since the request began; make the request again', {
        kind: 'forbidden',
        reason: 'Forbidden',
      });
    } catch (error) {
      return error instanceof UnavailableError ? undefined : toError(error);
    }
  }
}
