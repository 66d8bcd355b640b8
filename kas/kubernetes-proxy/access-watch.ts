import { isDeepStrictEqual } from 'node:util';
import { AbortScope } from '../../lib/abort.ts';
import { isAbort, toError, UnavailableError, UserError } from '../../lib/errors.ts';
import { nextCheck } from '../agent-session/token-watch.ts';
import type { Grant, ProxyAccess } from './access.ts';
import type { Credential } from './credential.ts';

export interface AccessWatchOptions {
  readonly access: ProxyAccess;
  /** Between two questions, some percent more or less. */
  readonly periodMs: number;
  readonly credential: Credential;
  /** What the request began with. */
  readonly granted: Grant;
  /** Called once, with why the request may not go on. */
  readonly onEnd: (error: Error) => void;
}

/**
 * Asks again and again whether a credential still gives what it gave, for as long as a request with it runs: a watch may last for
 * days. Dispose it when the request has ended.
 */
export class AccessWatch implements Disposable {
  readonly #scope: AbortScope;
  #ended: Error | undefined;

  constructor(options: AccessWatchOptions, signal: AbortSignal) {
    this.#scope = new AbortScope(signal);
    void this.#run(options, this.#scope.signal);
  }

  /** Why the request may not go on; undefined while it may. */
  get ended(): Error | undefined {
    return this.#ended;
  }

  [Symbol.dispose](): void {
    this.#scope[Symbol.dispose]();
  }

  async #run({ access, periodMs, credential, granted, onEnd }: AccessWatchOptions, signal: AbortSignal): Promise<void> {
    try {
      while (this.#ended === undefined) {
        await nextCheck(access, periodMs, signal);
        this.#ended = await whyNot(access, credential, granted, signal);
      }
    } catch (error) {
      if (isAbort(error, signal) || signal.aborted) return;
      this.#ended = toError(error);
    }
    onEnd(this.#ended);
  }
}

/** Undefined when nothing has changed. Whoever should answer and does not is no reason to end what was let in. */
async function whyNot(
  access: ProxyAccess,
  credential: Credential,
  granted: Grant,
  signal: AbortSignal,
): Promise<Error | undefined> {
  try {
    const now = await access.authorize(credential, signal);
    if (isDeepStrictEqual(now.impersonation, granted.impersonation)) return undefined;
    return new UserError('what this credential allows has changed since the request began; make the request again', {
      kind: 'forbidden',
      reason: 'Forbidden',
    });
  } catch (error) {
    if (error instanceof UnavailableError) return undefined;
    throw error;
  }
}
