import type { GrpcListener, GrpcService } from '../../lib/grpc/listener.ts';
import { Handlers } from '../../lib/grpc/serve.ts';
import type { Logger } from '../../lib/log.ts';
import { AgentTrackerService } from '../../proto/gen/gitlab/agent/agent_tracker/rpc.ts';
import { ConfigurationProjectService } from '../../proto/gen/gitlab/agent/configuration_project/rpc.ts';
import { NotificationsService } from '../../proto/gen/gitlab/agent/notifications/rpc.ts';
import { AgentsServiceService } from '../../proto/gen/kas/api/v1/agents.ts';
import { LiveChangesServiceService } from '../../proto/gen/kas/api/v1/live_changes.ts';
import { NotificationsServiceService } from '../../proto/gen/kas/api/v1/notifications.ts';
import { SyncStatusServiceService } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { UnitsServiceService } from '../../proto/gen/kas/api/v1/units.ts';
import type { AgentTracker } from '../agent-tracker/agent-tracker.ts';
import type { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import type { LiveChangeLog } from '../live-changes/live-change-log.ts';
import { createLiveChangesService } from '../live-changes/live-changes-service.ts';
import { createAgentsService } from './agents-service.ts';
import type { ApiAuth } from './api-auth.ts';
import { createConfigurationProjectService } from './configuration-project-service.ts';
import { createConnectedAgentsService } from './connected-agents-service.ts';
import { createGitPushService } from './git-push-service.ts';
import { describeServices } from './health-and-reflection.ts';
import { createNotificationsService, type PushListener } from './notifications-service.ts';
import { createSyncStatusService } from './sync-status-service.ts';
import { createUnitsService, type UnitsServiceDeps } from './units-service.ts';

export interface ApiServicesDeps extends Omit<UnitsServiceDeps, 'auth'> {
  readonly auth: ApiAuth;
  readonly tracker: AgentTracker;
  readonly gitaly: GitalyClientPool;
  readonly pushes: PushListener;
  readonly changes: LiveChangeLog;
  readonly log: Logger;
}

/** What is asked on the API port: ours, what GitLab's Rails application asks, health and reflection. Its handlers, for more. */
export async function serveApi(listener: GrpcListener, deps: ApiServicesDeps): Promise<Handlers> {
  const { auth, tracker, gitaly, pushes, changes, log } = deps;
  const handlers = new Handlers(log, listener.draining);
  const services: readonly GrpcService[] = [
    { definition: SyncStatusServiceService, handlers: createSyncStatusService(handlers, deps) },
    { definition: UnitsServiceService, handlers: createUnitsService(handlers, deps) },
    { definition: AgentsServiceService, handlers: createAgentsService(handlers, auth, tracker) },
    { definition: NotificationsServiceService, handlers: createNotificationsService(handlers, auth, pushes) },
    { definition: LiveChangesServiceService, handlers: createLiveChangesService(handlers, auth, changes) },
    { definition: AgentTrackerService, handlers: createConnectedAgentsService(handlers, auth, tracker) },
    { definition: ConfigurationProjectService, handlers: createConfigurationProjectService(handlers, auth, gitaly) },
    { definition: NotificationsService, handlers: createGitPushService(handlers, auth, pushes) },
  ];
  listener.serve([...services, ...(await describeServices(services, handlers, listener.draining))]);
  return handlers;
}
