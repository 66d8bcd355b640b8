import { sleep } from '../../../lib/abort.ts';
import { KubeError } from '../../kube/kube-error.ts';
import type { Desired } from '../desired/desired.ts';
import { classifyRefusal, isOfOldSchema } from './apply-errors.ts';
import type { Catalog } from './catalog.ts';

/** For a kind that is not served by every API server yet, and the like. */
const DELAYS_MS: readonly number[] = [50, 200, 1_000];

/** Whether a refusal passes by itself within a moment. */
export function passesAtOnce(error: unknown, { id }: Desired, catalog: Catalog): boolean {
  if (!(error instanceof KubeError)) return false;
  return classifyRefusal(error).retry === 'at_once' || (isOfOldSchema(error) && catalog.isSettling(id));
}

/** Tries a few times what is refused for such a reason; rejects as the last attempt did. */
export async function tryAtOnce<T>(work: () => Promise<T>, desired: Desired, catalog: Catalog, signal: AbortSignal): Promise<T> {
  for (const delayMs of DELAYS_MS) {
    try {
      return await work();
    } catch (error) {
      if (!passesAtOnce(error, desired, catalog)) throw error;
      await sleep(delayMs, signal);
    }
  }
  return await work();
}
