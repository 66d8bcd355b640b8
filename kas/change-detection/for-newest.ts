import { AbortScope } from '../../lib/abort.ts';

/**
 * Works on the newest of a series of states: one that comes ends the work on the one before, and waits for its end, so
 * that results never come out of order. Resolves when the states end, which they must once the signal they were given
 * fires; rejects with the first failure of `work`. Work that was ended is to return or to reject by its own signal's reason.
 */
export async function forNewest<T>(
  states: (signal: AbortSignal) => AsyncIterable<T>,
  work: (state: T, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  using scope = new AbortScope(signal);
  let failure: { readonly error: unknown } | undefined;
  let current: { readonly scope: AbortScope; readonly done: Promise<void> } | undefined;
  const supersede = async (): Promise<void> => {
    current?.scope[Symbol.dispose]();
    await current?.done;
    current = undefined;
  };
  const start = async (state: T, own: AbortSignal): Promise<void> => {
    try {
      await work(state, own);
    } catch (error) {
      if (own.aborted) return;
      failure ??= { error };
      scope.abort(error);
    }
  };
  try {
    for await (const state of states(scope.signal)) {
      await supersede();
      if (scope.signal.aborted) break;
      const own = new AbortScope(scope.signal);
      current = { scope: own, done: start(state, own.signal) };
    }
  } finally {
    await supersede();
  }
  if (failure !== undefined) throw failure.error;
}
