import type { ListenAddress } from '../../lib/listen-address.ts';
import type { Logger } from '../../lib/log.ts';
import { ObservabilityServer } from '../../lib/observability-server.ts';
import { runStages } from '../../lib/stages.ts';

/**
 * What the readiness probe goes by: a replica that waits for another one is ready, one that leads is when it has a session
 * with kas, and one that cannot tell which it is, is not.
 */
export interface Readiness {
  /** Of this replica: `unknown` while the Lease cannot be read. */
  readonly standing: (now: 'leads' | 'waits' | 'unknown') => void;
  /** Whether there is a session with kas. */
  readonly session: (open: boolean) => void;
}

/** Longer than an agent takes to stop. */
const GRACE_MS = 60_000;

/** Does the work with probes at the address, if there is one: /liveness and /readiness. */
export async function withProbes(
  address: ListenAddress | undefined,
  log: Logger,
  work: (readiness: Readiness, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  if (address === undefined) return await work({ standing: () => undefined, session: () => undefined }, signal);
  const server = new ObservabilityServer({ address, livenessUrlPath: '/liveness', readinessUrlPath: '/readiness', log });
  const agent = {
    name: 'agent',
    async run(ready: () => void, stop: AbortSignal): Promise<void> {
      ready();
      await work(readinessOf(server), stop);
    },
  };
  await runStages([[server], [agent]], { graceMs: GRACE_MS, onStopping: () => server.setReady(false) }, signal);
}

export function readinessOf(server: Pick<ObservabilityServer, 'setReady'>): Readiness {
  let standing = 'unknown';
  let open = false;
  const tell = (): void => server.setReady(standing === 'waits' || (standing === 'leads' && open));
  return {
    standing: (now) => {
      standing = now;
      tell();
    },
    session: (isOpen) => {
      open = isOpen;
      tell();
    },
  };
}
