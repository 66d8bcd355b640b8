import { sleep } from '../../lib/abort.ts';
import { UnavailableError } from '../../lib/errors.ts';
import { jittered } from '../../lib/jitter.ts';
import type { AgentInfo, Registry } from '../registry/registry.ts';

/**
 * Asks who the token belongs to when the registry says that answers may have changed, and once a period besides. Resolves
 * when that is no longer `agent` as it was; rejects with UserError `unauthenticated` or `forbidden` when the token does
 * not hold any more, and with the signal's reason.
 */
export async function watchToken(
  registry: Registry,
  token: string,
  agent: AgentInfo,
  periodMs: number,
  signal: AbortSignal,
): Promise<void> {
  while (true) {
    await nextCheck(registry, periodMs, signal);
    try {
      const { id, name, project } = await registry.agentByToken(token, signal);
      if (id !== agent.id || name !== agent.name || project !== agent.project) return;
    } catch (error) {
      // The registry's absence is no reason to part with agents it knew.
      if (!(error instanceof UnavailableError)) throw error;
    }
  }
}

async function nextCheck(registry: Registry, periodMs: number, signal: AbortSignal): Promise<void> {
  const changed = new AbortController();
  const unsubscribe = registry.onChange(() => changed.abort());
  try {
    await sleep(jittered(periodMs), AbortSignal.any([signal, changed.signal]));
  } catch {
    signal.throwIfAborted();
  } finally {
    unsubscribe();
  }
}
