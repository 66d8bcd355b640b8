import { createLogger, type Logger } from '../lib/log.ts';
import { type Part, runStages } from '../lib/stages.ts';
import type { AgentkFlags } from './config/flags.ts';
import { createEngine } from './gitops/engine.ts';
import type { Engine } from './gitops/unit.ts';
import type { KubeAccess } from './kube/kube-access.ts';
import { KubeCluster } from './kube/kube-cluster.ts';
import { loadKubeConfig } from './kube/kube-config.ts';
import { leaseIdentity, tokenFingerprint } from './leader/identity.ts';
import { KubeLeaseStore } from './leader/kube-lease-store.ts';
import { LeaderElection } from './leader/leader-election.ts';
import { leaseTimings } from './leader/lease-timings.ts';
import type { Term } from './leader/term.ts';
import { ObjectCache } from './object-cache/object-cache.ts';
import { connectToKas, parseKasUrl } from './session/kas-connection.ts';
import { type AgentIdentity, KasSession } from './session/kas-session.ts';
import { StatusReporter } from './session/status-reporter.ts';

/** How long running requests may take to finish when agentk stops. */
const GRACE_MS = 20_000;

const VERSION_TIMEOUT_MS = 2_000;

/** Waits for its turn among replicas, works as the agent, and waits again when its turn was lost, until `signal` fires. */
export async function runAgentk(flags: AgentkFlags, signal: AbortSignal): Promise<void> {
  const log = createLogger('agentk', flags.logLevel);
  parseKasUrl(flags.kasAddress);
  const access = loadKubeConfig(flags);
  log.info('agentk starts', { address: flags.kasAddress, namespace: flags.namespace });
  if (flags.leaderElection === undefined) {
    await using cluster = new KubeCluster({ config: access, log });
    await runAgent(flags, cluster, log, signal);
  } else {
    const { leaseName, leaseDurationMs } = flags.leaderElection;
    await using store = new KubeLeaseStore({ access, namespace: flags.namespace, name: leaseName, log });
    const election = new LeaderElection({
      store,
      identity: leaseIdentity({ name: flags.podName, uid: flags.podUid }),
      fingerprint: await tokenFingerprint(flags.tokenFile),
      timings: leaseTimings(leaseDurationMs),
      log,
    });
    await election.run(async (term) => await runTerm(flags, access, log, term, signal), signal);
  }
  log.info('agentk stopped');
}

/** The agent for as long as it leads. When the term is lost its connections are cut, with all that is on its way. */
async function runTerm(flags: AgentkFlags, access: KubeAccess, log: Logger, term: Term, signal: AbortSignal): Promise<void> {
  await using cluster = new KubeCluster({ config: access, log, permitWrite: () => term.permitWrite() });
  const cut = (): void => void cluster[Symbol.asyncDispose]();
  term.lost.addEventListener('abort', cut, { once: true });
  try {
    await runAgent(flags, cluster, log, AbortSignal.any([signal, term.lost]));
  } finally {
    term.lost.removeEventListener('abort', cut);
  }
}

/**
 * The agent: a session with kas, the engine, and the cluster between them. The session starts first, since kas tells
 * the agent who it is, and stops last, so that the engine's last reports still go out.
 */
async function runAgent(flags: AgentkFlags, cluster: KubeCluster, log: Logger, signal: AbortSignal): Promise<void> {
  const reporter = new StatusReporter();
  const identity = Promise.withResolvers<AgentIdentity>();
  const engine = Promise.withResolvers<Engine>();

  const objectCache = new ObjectCache({ cluster, log });
  const session = new KasSession({
    connect: (callSignal) =>
      connectToKas({ url: flags.kasAddress, tokenFile: flags.tokenFile, caCertFile: flags.caCertFile }, callSignal),
    reporter,
    describe: async (callSignal) => ({
      // Known to built images only.
      commitId: '',
      podNamespace: flags.namespace,
      podName: flags.podName,
      // A cluster that does not answer is no reason to stay away from kas.
      kubernetesVersion: await cluster
        .version(AbortSignal.any([callSignal, AbortSignal.timeout(VERSION_TIMEOUT_MS)]))
        .catch(() => ''),
    }),
    onIdentity: identity.resolve,
    engine: engine.promise,
    objectCache,
    log,
  });
  const engineRunner: Part = {
    name: 'engine',
    async run(ready, stageSignal) {
      const { namespace, podName } = flags;
      const created = createEngine({ cluster, reporter, agent: await identity.promise, namespace, podName, log });
      engine.resolve(created);
      await created.run(ready, stageSignal);
    },
  };
  await runStages([[session], [engineRunner, objectCache]], { graceMs: GRACE_MS }, signal);
}
