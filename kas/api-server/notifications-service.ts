import { UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type {
  GitPushEventRequest,
  GitPushEventResponse,
  NotificationsServiceServer,
} from '../../proto/gen/kas/api/v1/notifications.ts';
import type { ApiAuth } from './api-auth.ts';

/** What was pushed to: a project by its full path, or a repository on a Gitaly storage. */
export type PushedRepository = { readonly project: string } | { readonly storageName: string; readonly relativePath: string };

export interface PushListener {
  /** Looks at the repository now. One that nobody watches is ignored. */
  notifyPush(repository: PushedRepository): Promise<void>;
}

/** kas.api.v1.NotificationsService: something was pushed. */
export function createNotificationsService(handlers: Handlers, auth: ApiAuth, pushes: PushListener): NotificationsServiceServer {
  async function gitPushEvent({ repository }: GitPushEventRequest, context: CallContext): Promise<GitPushEventResponse> {
    await auth.authenticate(context.metadata);
    if (repository === undefined) throw new UserError('name the project or the storage path that was pushed to');
    await pushes.notifyPush(repository.$case === 'project' ? { project: repository.value } : repository.value);
    return {};
  }
  return { gitPushEvent: handlers.unary(gitPushEvent) };
}
