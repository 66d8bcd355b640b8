import { sleep } from '../../lib/abort.ts';
import { toError } from '../../lib/errors.ts';

export interface WaitOptions {
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
  /** What is waited for, as the sentence goes on after "waited 30 s for …". */
  readonly what: string;
}

type Falsy = false | 0 | 0n | '' | null | undefined;

/**
 * Polls until the condition returns a truthy value, and returns it. A condition that throws is asked again; after
 * `timeoutMs` (30 s) the wait fails with what the last attempt returned or threw.
 */
export async function waitUntil<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 30_000, intervalMs = 50, what }: WaitOptions,
  signal: AbortSignal = new AbortController().signal,
): Promise<Exclude<T, Falsy>> {
  const deadline = performance.now() + timeoutMs;
  while (true) {
    let last: string;
    let cause: Error | undefined;
    try {
      const value = await condition();
      if (value) return value as Exclude<T, Falsy>;
      last = `last value: ${String(value)}`;
    } catch (error) {
      cause = toError(error);
      last = `last error: ${cause.message}`;
    }
    signal.throwIfAborted();
    if (performance.now() >= deadline)
      throw new Error(`waited ${timeoutMs / 1000} s for ${what}; ${last}`, cause === undefined ? undefined : { cause });
    await sleep(intervalMs, signal);
  }
}
