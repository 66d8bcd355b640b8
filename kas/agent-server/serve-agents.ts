import type { GrpcListener, GrpcService } from '../../lib/grpc/listener.ts';
import { Handlers } from '../../lib/grpc/serve.ts';
import type { Logger } from '../../lib/log.ts';
import { VERSION } from '../../lib/version.ts';
import { AgentConfigurationService } from '../../proto/gen/gitlab/agent/agent_configuration/agent_configuration.ts';
import { GitlabAccessService } from '../../proto/gen/gitlab/agent/gitlab_access/rpc.ts';
import { GitopsService } from '../../proto/gen/gitlab/agent/gitops/gitops.ts';
import { SessionService } from '../../proto/gen/kas/agent/v1/session.ts';
import type { ConfigurationSource } from '../agent-session/agent-configuration.ts';
import { BundleCache } from '../agent-session/bundle-cache.ts';
import type { SessionMetrics } from '../agent-session/session-reports.ts';
import { createSessionService } from '../agent-session/session-service.ts';
import { Sessions } from '../agent-session/sessions.ts';
import { Transfers } from '../agent-session/transfers.ts';
import type { KasConfig } from '../config/kas-config.ts';
import { createGitlabAccessService } from '../gitlab-access/gitlab-access-service.ts';
import { createAgentConfigurationService } from '../gitlab-agent/configuration-service.ts';
import { createGitopsService } from '../gitlab-agent/gitops-service.ts';
import type { ChangeFollowers } from '../live-changes/change-follower.ts';
import type { OpenedRegistry } from '../registry/open-registry.ts';
import type { SharedState } from '../shared-state.ts';
import { SyncLog } from '../sync-status/sync-log.ts';
import { SyncStatusRecorder } from '../sync-status/sync-status-recorder.ts';
import { tunnelDefinition } from '../tunnel/tunnel-definition.ts';
import type { TunnelRegistry } from '../tunnel/tunnel-registry.ts';
import { createTunnelService } from '../tunnel/tunnel-service.ts';
import type { UnitSource } from '../units/unit-source.ts';
import { AgentAuth } from './agent-auth.ts';
import { AgentLimits } from './agent-limits.ts';

export interface AgentServicesDeps {
  readonly config: KasConfig;
  readonly opened: OpenedRegistry;
  readonly shared: SharedState;
  readonly configurations: ConfigurationSource;
  readonly units: UnitSource;
  readonly tunnels: TunnelRegistry;
  readonly liveChanges: ChangeFollowers;
  readonly metrics: SessionMetrics;
  readonly log: Logger;
}

/** Sessions end one after the other within this, so that agents do not all come to another replica at once. */
const SESSION_DRAIN_MS = 7_000;
const BUNDLE_CACHE_BYTES = 256 << 20;
const TRANSFER_BYTES = 64 << 20;

/** What agents call: sessions and tunnels, and what agents of GitLab 13.8 know instead. */
export function serveAgents(listener: GrpcListener, deps: AgentServicesDeps): void {
  const { config, opened, shared, configurations, units, tunnels, liveChanges, metrics, log } = deps;
  const { registry, tokenCheckPeriodMs } = opened;
  const { draining } = listener;
  const auth = new AgentAuth(registry, new AgentLimits(config.agent.listen.limits));
  const handlers = new Handlers(log, listener.forced);
  const calls = {
    registry,
    configurations,
    units,
    tracker: shared.tracker,
    reports: new SyncStatusRecorder(shared.store, new SyncLog(log)),
    metrics,
    log,
    draining,
    maxConnectionAgeMs: config.agent.listen.maxConnectionAgeMs,
    tokenCheckPeriodMs,
  };
  const native = createSessionService(handlers, auth, {
    ...calls,
    bundles: new BundleCache(BUNDLE_CACHE_BYTES),
    transfers: new Transfers(TRANSFER_BYTES),
    sessions: new Sessions(draining, SESSION_DRAIN_MS),
    commands: shared.agentCommands,
    tunnels,
    liveChanges,
    version: VERSION,
  });
  const gitlab = { ...calls, authenticator: auth, maxPaths: config.agent.gitops.limits.maxPaths };
  listener.serve([
    { definition: SessionService, handlers: native },
    { definition: tunnelDefinition, handlers: createTunnelService(handlers, auth, tunnels, draining) },
    { definition: AgentConfigurationService, handlers: createAgentConfigurationService(handlers, gitlab) },
    { definition: GitopsService, handlers: createGitopsService(handlers, gitlab) },
    ...gitlabAccess(handlers, auth, deps),
  ]);
}

/** Without GitLab there is nothing that agents could ask of it. */
function gitlabAccess(handlers: Handlers, authenticator: AgentAuth, { config, opened }: AgentServicesDeps): GrpcService[] {
  const { gitlab: client } = opened;
  if (client === undefined || config.gitlab === undefined) return [];
  const deps = { authenticator, client, allowedPaths: config.gitlab.allowedModulePaths };
  return [{ definition: GitlabAccessService, handlers: createGitlabAccessService(handlers, deps) }];
}
