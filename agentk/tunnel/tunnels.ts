import { isAbort, toError, UserError } from '../../lib/errors.ts';
import { WindowBudget } from '../../lib/flow-control.ts';
import type { Logger } from '../../lib/log.ts';
import { type ServeIncoming, serveTunnel, type TunnelCall } from './serve-tunnel.ts';

export interface TunnelsDeps {
  readonly serve: ServeIncoming;
  readonly log: Logger;
}

/** Opens a stream for tunnels on the connection of a session. */
export type OpenTunnel = (signal: AbortSignal) => TunnelCall;

/** Streams that wait for requests: a few, and more while many are in use. */
const MIN_IDLE = 4;
const IDLE_SHARE = 1 / 4;
/** kas takes 1,000 streams on a connection. */
const MAX_TUNNELS = 900;
/** Memory for requests whose readers are fast, beside what each has anyway. */
const WINDOW_BUDGET_BYTES = 64 << 20;

/** Keeps tunnels open for kas, on whatever connection the session is. */
export class Tunnels {
  readonly #deps: TunnelsDeps;
  readonly #budget = new WindowBudget(WINDOW_BUDGET_BYTES);
  readonly #ended: AbortSignal;

  /** `signal` ends every request that runs. */
  constructor(deps: TunnelsDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#ended = signal;
  }

  /**
   * Keeps tunnels on a connection until `signal` fires; those that carry a request then go on. The returned function
   * opens so many more, since kas has requests that wait.
   */
  attach(open: OpenTunnel, signal: AbortSignal): (count: number) => void {
    const connection = new TunnelsOfConnection(this.#deps, open, this.#budget, signal, this.#ended);
    connection.replenish();
    return (count) => connection.openMore(count);
  }
}

class TunnelsOfConnection {
  readonly #deps: TunnelsDeps;
  readonly #open: OpenTunnel;
  readonly #budget: WindowBudget;
  readonly #signal: AbortSignal;
  readonly #ended: AbortSignal;
  #idle = 0;
  #busy = 0;
  /** An older kas has no tunnels; or this one does not take them now. */
  #refused = false;

  constructor(deps: TunnelsDeps, open: OpenTunnel, budget: WindowBudget, signal: AbortSignal, ended: AbortSignal) {
    this.#deps = deps;
    this.#open = open;
    this.#budget = budget;
    this.#signal = signal;
    this.#ended = ended;
  }

  replenish(): void {
    this.openMore(Math.max(MIN_IDLE, Math.ceil(this.#busy * IDLE_SHARE)) - this.#idle);
  }

  openMore(count: number): void {
    for (let opened = 0; opened < count && this.#idle + this.#busy < MAX_TUNNELS; opened += 1) {
      if (this.#refused || this.#signal.aborted) return;
      this.#idle += 1;
      void this.#run();
    }
  }

  async #run(): Promise<void> {
    let taken = false;
    // An idle one ends with the session, a busy one goes on.
    const controller = new AbortController();
    const end = (): void => controller.abort(this.#ended.aborted ? this.#ended.reason : this.#signal.reason);
    const endIfIdle = (): void => {
      if (!taken) end();
    };
    this.#signal.addEventListener('abort', endIfIdle, { once: true });
    this.#ended.addEventListener('abort', end, { once: true });
    if (this.#ended.aborted) end();
    const onTaken = (): void => {
      taken = true;
      this.#idle -= 1;
      this.#busy += 1;
      this.replenish();
    };
    try {
      await serveTunnel(this.#open(controller.signal), this.#deps.serve, onTaken, this.#budget);
      // kas needs it no more, and none in its place.
      if (!taken) this.#refused = true;
    } catch (error) {
      if (!taken) this.#refused = true;
      this.#logFailure(toError(error), taken, controller.signal);
    } finally {
      this.#signal.removeEventListener('abort', endIfIdle);
      this.#ended.removeEventListener('abort', end);
      if (taken) this.#busy -= 1;
      else this.#idle -= 1;
    }
  }

  #logFailure(error: Error, taken: boolean, signal: AbortSignal): void {
    const { log } = this.#deps;
    if (isAbort(error, signal) || this.#signal.aborted) return;
    if (error instanceof UserError && error.kind === 'unimplemented') log.debug('kas has no tunnels', { detail: error.message });
    else if (taken) log.debug('A request through the tunnel was broken off', { detail: error.message });
    else log.warn('Cannot offer tunnels to kas until the next session', { detail: error.message });
  }
}
