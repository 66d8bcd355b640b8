import { AbortScope, sleep } from '../../lib/abort.ts';
import { isAbort } from '../../lib/errors.ts';
import { jittered } from '../../lib/jitter.ts';
import type { Logger } from '../../lib/log.ts';
import { watchToken } from '../agent-session/token-watch.ts';
import type { AgentInfo, Registry } from '../registry/registry.ts';

/** What ends the long calls of an agent, besides the agent itself. */
export interface CallLife {
  readonly registry: Registry;
  readonly log: Logger;
  /** Fires when calls should end by themselves, soon. */
  readonly draining: AbortSignal;
  /** After about this long a call ends with OK, and the agent calls again. */
  readonly maxConnectionAgeMs: number;
  readonly tokenCheckPeriodMs: number;
}

export interface LiveCall extends Disposable {
  /** Fires when the call shall end. */
  readonly signal: AbortSignal;
  /** Throws UserError `unauthenticated` or `forbidden` when the token does not hold any more. */
  throwIfFailed(): void;
}

/** A call that ends by its age, when kas is about to stop, when its token is revoked, or with `signal`. */
export function liveCall(life: CallLife, agent: AgentInfo, token: string, signal: AbortSignal): LiveCall {
  const scope = new AbortScope(signal);
  let failure: { readonly error: unknown } | undefined;
  const end = (): void => scope.abort(new DOMException('The call has ended', 'AbortError'));
  if (life.draining.aborted) end();
  life.draining.addEventListener('abort', end, { once: true });
  sleep(jittered(life.maxConnectionAgeMs), scope.signal).then(end, () => undefined);
  watchToken(life.registry, token, agent, life.tokenCheckPeriodMs, scope.signal).then(end, (error: unknown) => {
    if (!isAbort(error, scope.signal)) failure = { error };
    end();
  });
  return {
    signal: scope.signal,
    throwIfFailed: () => {
      signal.throwIfAborted();
      if (failure !== undefined) throw failure.error;
    },
    [Symbol.dispose]: () => {
      life.draining.removeEventListener('abort', end);
      scope[Symbol.dispose]();
    },
  };
}
