import { UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type {
  GitPushEventRequest,
  GitPushEventResponse,
  NotificationsServer,
} from '../../proto/gen/gitlab/agent/notifications/rpc.ts';
import type { ApiAuth } from './api-auth.ts';
import type { PushListener } from './notifications-service.ts';

/** gitlab.agent.notifications.rpc.Notifications: GitLab says that something was pushed. */
export function createGitPushService(handlers: Handlers, auth: ApiAuth, pushes: PushListener): NotificationsServer {
  async function gitPushEvent({ event }: GitPushEventRequest, context: CallContext): Promise<GitPushEventResponse> {
    await auth.authenticate(context.metadata);
    const project = event?.project?.fullPath || event?.fullPath;
    if (project === undefined || project === '') throw new UserError('name the project that was pushed to: full_path is needed');
    await pushes.notifyPush({ project });
    return {};
  }
  return { gitPushEvent: handlers.unary(gitPushEvent) };
}
