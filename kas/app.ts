import { Kustomize } from 'kustomize-ts';
import { aborted } from '../lib/abort.ts';
import type { GrpcListener } from '../lib/grpc/listener.ts';
import { formatListenAddress } from '../lib/listen-address.ts';
import type { Logger } from '../lib/log.ts';
import { ObservabilityServer } from '../lib/observability-server.ts';
import { type Part, runStages } from '../lib/stages.ts';
import { VERSION } from '../lib/version.ts';
import { GitConfigurationSource } from './agent-configuration/git-configuration-source.ts';
import { createAgentListener } from './agent-server/agent-listener.ts';
import { serveAgents } from './agent-server/serve-agents.ts';
import { CallForwarder } from './agent-services/forward-calls.ts';
import { ApiAuth, readApiSecret } from './api-server/api-auth.ts';
import { createApiListener } from './api-server/api-listener.ts';
import { serveApi } from './api-server/api-services.ts';
import type { PollHandler } from './change-detection/poll-queue.ts';
import { RefWatcher } from './change-detection/ref-watcher.ts';
import type { KasConfig } from './config/kas-config.ts';
import { GitalyClientPool } from './gitaly/gitaly-client-pool.ts';
import type { GitlabClient } from './gitlab-api/gitlab-client.ts';
import { openGitlabReports } from './gitlab-api/open-reports.ts';
import { GitlabAccess } from './kubernetes-proxy/gitlab-access.ts';
import { createKubernetesProxy, fileAccess } from './kubernetes-proxy/open-kubernetes-proxy.ts';
import { openLiveChanges } from './live-changes/open-live-changes.ts';
import { KasMetrics } from './observability/kas-metrics.ts';
import { countedRegistry } from './registry/counted-registry.ts';
import type { FileRegistry } from './registry/file-registry.ts';
import { type OpenedRegistry, openRegistry } from './registry/open-registry.ts';
import type { Registry } from './registry/registry.ts';
import { openSharedState } from './shared-state.ts';
import type { StateBackend } from './state-backend.ts';
import { type AgentTunnels, openAgentTunnels } from './tunnel/agent-tunnels.ts';
import { TunnelRegistry } from './tunnel/tunnel-registry.ts';
import { OverriddenConfigurations } from './unit-operations/overridden-configurations.ts';
import { BlobCache } from './units/blob-cache.ts';
import { BlobFolder } from './units/blob-folder.ts';
import { GitUnitSource } from './units/git-unit-source.ts';
import { TreeListings } from './units/tree-listings.ts';
import { UnitRenderer } from './units/unit-renderer.ts';
import { openWebhooks } from './webhooks/open-webhooks.ts';

/** Calls that run when kas stops have so long to end by themselves. */
const CALL_GRACE_MS = 1_000;
/** As calls, for as many agents as one kas may have. */
const AGENT_GRACE_MS = 10_000;
const STAGE_GRACE_MS = AGENT_GRACE_MS + 1_000;
/** A restarted agent is back before its units are forgotten. */
const UNIT_LINGER_MS = 60_000;
const BLOB_CACHE_BYTES = 128 << 20;
const LISTING_BYTES = 64 << 20;
const CONCURRENT_POLLS = 32;

/** Runs kas until the signal fires. Throws UserError when something it was given is wrong, before it serves anything. */
export async function runKas(config: KasConfig, log: Logger, signal: AbortSignal): Promise<void> {
  const uncounted = await openRegistry(config, log);
  const apiSecret = await readApiSecret(
    config.api.listen.authenticationSecretFile,
    config.api.listen.authenticationSecretEncoding,
  );
  const shared = await openSharedState(config, { graceMs: CALL_GRACE_MS, concurrentPolls: CONCURRENT_POLLS, log });
  const { overrides, tracker, store, commands } = shared;
  const metrics = new KasMetrics(() => tracker.size);
  const opened = countedRegistry(uncounted, (question) => metrics.asked(question));
  const { registry, file: fileRegistry, gitlab: gitlabClient } = opened;
  const { blobCache } = config.agent.gitops;
  const folder = blobCache && (await BlobFolder.open({ ...blobCache, log }));
  const sources = createSources({ config, registry, shared, metrics, folder, log });
  const agentListener = createAgentListener({ ...config.agent.listen, graceMs: AGENT_GRACE_MS });
  const apiListener = createApiListener({ ...config.api.listen, graceMs: CALL_GRACE_MS });
  const observability = createObservability(config, shared, metrics, log);
  const reports = openGitlabReports(config, gitlabClient, log);
  const tunnels = new TunnelRegistry();
  const agents = openAgentTunnels(tunnels, tracker, shared.privateApi, log);
  const live = openLiveChanges(config.liveChanges, {
    agents,
    createLog: (channelPrefix) => shared.createLiveChangeLog(channelPrefix),
    apiSecret,
    log,
  });
  serveAgents(agentListener, {
    config,
    opened,
    shared,
    configurations: new OverriddenConfigurations(reports.reporting(sources.configurations), overrides),
    units: sources.units,
    tunnels,
    liveChanges: live.followers,
    metrics: reports.counting(metrics),
    log,
  });
  const { gitaly, refs: pushes } = sources;
  const auth = new ApiAuth(apiSecret);
  const state = { store, overrides, commands, tracker, changes: live.changes };
  const handlers = await serveApi(apiListener, { ...state, auth, directory: registry, gitaly, pushes, log });
  const forwarder = new CallForwarder({ auth, agents, log });
  apiListener.serveOthers((method) => handlers.bidi((messages, call) => forwarder.forward(method, messages, call)));

  const webhooks = await openWebhooks(config.webhooks, { pushes, remotes: fileRegistry, log });
  const proxy = openProxy(config, { agents, fileRegistry, gitlabClient, sources, log });

  await runStages(
    [
      [observability],
      [...shared.servers],
      [...shared.parts],
      [sources, registryPart(registry, gitlabClient), ...reports.parts],
      [agentListener, apiListener, ...(proxy === undefined ? [] : [proxy]), ...webhooks, ...live.servers],
      [announcement(agentListener, apiListener, observability, log)],
    ],
    { graceMs: STAGE_GRACE_MS, onStopping: () => observability.setReady(false) },
    signal,
  );
}

interface Sources extends Part {
  readonly cache: BlobCache;
  readonly gitaly: GitalyClientPool;
  readonly refs: RefWatcher;
  readonly units: GitUnitSource;
  readonly configurations: GitConfigurationSource;
}

interface SourceDeps {
  readonly config: KasConfig;
  readonly registry: Registry;
  readonly shared: StateBackend;
  readonly metrics: KasMetrics;
  /** Contents of files that outlive kas. */
  readonly folder: BlobFolder | undefined;
  readonly log: Logger;
}

/** What comes from Git. */
function createSources({ config, registry, shared, metrics, folder, log }: SourceDeps): Sources {
  const gitaly = new GitalyClientPool({ ...config.gitaly, metrics });
  const refs = new RefWatcher({
    gitaly,
    createQueue: ({ handler: poll, onResult }) => {
      const handler: PollHandler = async (repository, signal) => {
        metrics.polled();
        return await poll(repository, signal);
      };
      return shared.createQueue({ handler, onResult });
    },
    announcePush: async (pushed) => await shared.announcePush(pushed),
  });
  shared.onPush(
    (pushed) => void refs.notifyOwn(pushed).catch((err: unknown) => log.debug('Push could not be passed on', { err })),
  );
  const { pollPeriodMs, limits } = config.agent.gitops;
  const kustomize = createKustomize(config);
  const cache = new BlobCache(BLOB_CACHE_BYTES, folder);
  const listings = new TreeListings(LISTING_BYTES);
  const renderer = new UnitRenderer({ gitaly, limits, cache, listings, metrics, kustomize });
  const units = new GitUnitSource({ refs, renderer, pollPeriodMs, lingerMs: UNIT_LINGER_MS, log });
  const { maxConfigurationFileBytes: maxFileBytes, pollPeriodMs: configurationPeriodMs } = config.agent.configuration;
  const pollPeriod = { pollPeriodMs: configurationPeriodMs };
  const configurations = new GitConfigurationSource({ registry, refs, gitaly, cache, ...pollPeriod, maxFileBytes, log });
  return {
    name: 'sources',
    cache,
    gitaly,
    refs,
    units,
    configurations,
    async run(ready, signal) {
      ready();
      await aborted(signal);
      await configurations.close();
      await units.close();
      await kustomize.close();
      await refs.close();
      gitaly.close();
      await folder?.close();
    },
  };
}

function createKustomize({ agent: { gitops } }: KasConfig): Kustomize {
  const { maxFileBytes, maxTotalBytes, maxFiles } = gitops.limits;
  const { timeLimitMs, memoryLimitBytes, maxConcurrentBuilds } = gitops.kustomize;
  return new Kustomize({
    workers: maxConcurrentBuilds,
    limits: { timeMs: timeLimitMs, memoryBytes: memoryLimitBytes, maxFileBytes, maxTotalBytes, maxFiles },
  });
}

interface ProxyParts {
  readonly agents: AgentTunnels;
  readonly fileRegistry: FileRegistry | undefined;
  readonly gitlabClient: GitlabClient | undefined;
  readonly sources: Sources;
  readonly log: Logger;
}

function openProxy(config: KasConfig, { agents, fileRegistry, gitlabClient, sources, log }: ProxyParts): Part | undefined {
  const { kubernetesApi } = config.agent;
  if (kubernetesApi === undefined) return undefined;
  const { gitaly, refs, cache } = sources;
  const { pollPeriodMs, maxConfigurationFileBytes: maxFileBytes } = config.agent.configuration;
  const byFile = (registry: FileRegistry) => fileAccess(registry, { refs, gitaly, cache, pollPeriodMs, maxFileBytes, log });
  const access =
    gitlabClient === undefined ? fileRegistry && byFile(fileRegistry) : new GitlabAccess(gitlabClient, kubernetesApi.accessTtlMs);
  if (access === undefined) return undefined;
  return createKubernetesProxy({ config: kubernetesApi, agents, access, graceMs: CALL_GRACE_MS, log });
}

function createObservability(
  { observability: { listen, livenessUrlPath, readinessUrlPath } }: KasConfig,
  shared: StateBackend,
  metrics: KasMetrics,
  log: Logger,
): ObservabilityServer {
  const isServing = (): boolean => shared.isConnected;
  return new ObservabilityServer({ ...listen, livenessUrlPath, readinessUrlPath, metrics, log, isServing });
}

function registryPart(registry: OpenedRegistry['registry'], gitlab: OpenedRegistry['gitlab']): Part {
  return {
    name: 'registry',
    async run(ready, signal) {
      ready();
      await registry.watch(signal);
      gitlab?.close();
    },
  };
}

/** Starts last: says that everything listens, and where. */
function announcement(agents: GrpcListener, api: GrpcListener, observability: ObservabilityServer, log: Logger): Part {
  return {
    name: 'announcement',
    async run(ready, signal) {
      observability.setReady(true);
      log.info('kas is ready', {
        version: VERSION,
        agentAddress: formatListenAddress(await agents.address),
        apiAddress: formatListenAddress(await api.address),
        observabilityAddress: formatListenAddress(await observability.address),
      });
      ready();
      await aborted(signal);
      log.info('kas stops');
    },
  };
}
