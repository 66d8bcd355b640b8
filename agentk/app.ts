import { createLogger, type Logger } from '../lib/log.ts';
import { type Part, runStages } from '../lib/stages.ts';
import type { AgentkFlags } from './config/flags.ts';
import { GitlabAccess } from './gitlab-access/gitlab-access.ts';
import { agentIdentity } from './gitlab-kas/agent-identity.ts';
import { lazyGitlabSession, loadUnitSettings } from './gitlab-kas/lazy-gitlab-session.ts';
import type { UnitSettings } from './gitlab-kas/unit-settings.ts';
import { gitopsService } from './gitops/agent-service.ts';
import { createEngine } from './gitops/engine.ts';
import { EventHub } from './gitops/events/event-hub.ts';
import type { Engine } from './gitops/unit.ts';
import type { KubeAccess } from './kube/kube-access.ts';
import { KubeCluster } from './kube/kube-cluster.ts';
import { loadKubeConfig } from './kube/kube-config.ts';
import { leaseIdentity, tokenFingerprint } from './leader/identity.ts';
import { KubeLeaseStore } from './leader/kube-lease-store.ts';
import { LeaderElection } from './leader/leader-election.ts';
import { leaseTimings } from './leader/lease-timings.ts';
import type { Term } from './leader/term.ts';
import { objectCacheService } from './object-cache/agent-service.ts';
import { ObjectCache } from './object-cache/object-cache.ts';
import { ObjectCacheCalls } from './object-cache/object-cache-calls.ts';
import { type Readiness, withProbes } from './observability/probes.ts';
import { openKasChannel, parseKasUrl } from './session/kas-channel.ts';
import { connectToKas } from './session/kas-connection.ts';
import { type AgentIdentity, KasSession } from './session/kas-session.ts';
import { StatusReporter } from './session/status-reporter.ts';
import { TunnelsPart } from './tunnel/tunnels-part.ts';

/** How long running requests may take to finish when agentk stops. */
const GRACE_MS = 20_000;

const VERSION_TIMEOUT_MS = 2_000;

interface Setup {
  readonly flags: AgentkFlags;
  /** Of `--unit-settings`. */
  readonly settings: UnitSettings | undefined;
  readonly readiness: Readiness;
  readonly log: Logger;
}

/** Waits for its turn among replicas, works as the agent, and waits again when its turn was lost, until `signal` fires. */
export async function runAgentk(flags: AgentkFlags, signal: AbortSignal): Promise<void> {
  const log = createLogger('agentk', flags.logLevel);
  parseKasUrl(flags.kasAddress);
  const access = loadKubeConfig(flags);
  const settings = flags.unitSettingsFile === undefined ? undefined : await loadUnitSettings(flags.unitSettingsFile);
  log.info('agentk starts', { address: flags.kasAddress, namespace: flags.namespace });
  const work = async (readiness: Readiness, stop: AbortSignal): Promise<void> =>
    await runReplica({ flags, settings, readiness, log }, access, stop);
  await withProbes(flags.observabilityAddress, log, work, signal);
  log.info('agentk stopped');
}

async function runReplica(setup: Setup, access: KubeAccess, signal: AbortSignal): Promise<void> {
  const { flags, readiness, log } = setup;
  if (flags.leaderElection === undefined) {
    await using cluster = new KubeCluster({ config: access, log });
    readiness.standing('leads');
    await runAgent(setup, cluster, signal);
  } else {
    const { leaseName, leaseDurationMs } = flags.leaderElection;
    await using store = new KubeLeaseStore({ access, namespace: flags.namespace, name: leaseName, log });
    const election = new LeaderElection({
      store,
      identity: leaseIdentity({ name: flags.podName, uid: flags.podUid }),
      fingerprint: await tokenFingerprint(flags.tokenFile),
      timings: leaseTimings(leaseDurationMs),
      onStanding: readiness.standing,
      log,
    });
    await election.run(async (term) => await runTerm(setup, access, term, signal), signal);
  }
}

/** The agent for as long as it leads. When the term is lost its connections are cut, with all that is on its way. */
async function runTerm(setup: Setup, access: KubeAccess, term: Term, signal: AbortSignal): Promise<void> {
  await using cluster = new KubeCluster({ config: access, log: setup.log, permitWrite: () => term.permitWrite() });
  const cut = (): void => void cluster[Symbol.asyncDispose]();
  term.lost.addEventListener('abort', cut, { once: true });
  try {
    await runAgent(setup, cluster, AbortSignal.any([signal, term.lost]));
  } finally {
    term.lost.removeEventListener('abort', cut);
  }
}

/**
 * The agent: a session with kas, the engine, and the cluster between them. The session starts first, since kas tells
 * the agent who it is, and stops last, so that the engine's last reports still go out.
 */
async function runAgent(setup: Setup, cluster: KubeCluster, signal: AbortSignal): Promise<void> {
  const { flags, settings, readiness, log } = setup;
  const reporter = new StatusReporter();
  const events = new EventHub();
  const identity = Promise.withResolvers<AgentIdentity>();
  const engine = Promise.withResolvers<Engine>();

  const objectCache = new ObjectCache({ cluster, log });
  // What a module of the agent needs to ask GitLab: see docs/protocol.md.
  const gitlabAccess = new GitlabAccess();
  const tunnels = new TunnelsPart({
    services: [objectCacheService(new ObjectCacheCalls(objectCache)), gitopsService(engine.promise, events)],
    access: cluster.access,
    log,
  });
  const address = { url: flags.kasAddress, tokenFile: flags.tokenFile, caCertFile: flags.caCertFile };
  // Known to built images only.
  const meta = { commitId: '', podNamespace: flags.namespace, podName: flags.podName };
  const place = `${flags.namespace}/${flags.leaderElection?.leaseName ?? ''}`;
  const session = new KasSession({
    connect: (callSignal) => connectToKas(address, callSignal),
    reporter,
    describe: async (callSignal) => ({
      ...meta,
      // A cluster that does not answer is no reason to stay away from kas.
      kubernetesVersion: await cluster
        .version(AbortSignal.any([callSignal, AbortSignal.timeout(VERSION_TIMEOUT_MS)]))
        .catch(() => ''),
    }),
    older: lazyGitlabSession({
      open: () => openKasChannel(address, { gzip: true }),
      meta,
      identify: (told, callSignal) => agentIdentity({ told, given: flags.agentId, place }, cluster, callSignal),
      engine: engine.promise,
      settings,
      gitlabAccess,
      log,
    }),
    onIdentity: identity.resolve,
    onSession: readiness.session,
    engine: engine.promise,
    objectCache,
    tunnels,
    gitlabAccess,
    log,
  });
  const engineRunner: Part = {
    name: 'engine',
    async run(ready, stageSignal) {
      const { namespace, podName } = flags;
      const created = createEngine({
        cluster,
        reporter: events.beside(reporter),
        agent: await identity.promise,
        namespace,
        podName,
        log,
      });
      engine.resolve(created);
      await created.run(ready, stageSignal);
    },
  };
  await runStages([[session], [engineRunner, objectCache, tunnels]], { graceMs: GRACE_MS }, signal);
}
