import { UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import {
  LiveChange_Type,
  type LiveChangesServiceServer,
  type WatchLiveChangesRequest,
  type WatchLiveChangesResponse,
} from '../../proto/gen/kas/api/v1/live_changes.ts';
import type { ApiAuth } from '../api-server/api-auth.ts';
import { kindName, type LiveChange } from './live-change.ts';
import type { LiveChangeLog } from './live-change-log.ts';

const TYPES: Readonly<Record<LiveChange['type'], LiveChange_Type>> = {
  added: LiveChange_Type.TYPE_ADDED,
  modified: LiveChange_Type.TYPE_MODIFIED,
  deleted: LiveChange_Type.TYPE_DELETED,
  reset: LiveChange_Type.TYPE_RESET,
};

/** kas.api.v1.LiveChangesService: for RoR and tools. */
export function createLiveChangesService(handlers: Handlers, auth: ApiAuth, changes: LiveChangeLog): LiveChangesServiceServer {
  async function* watch(request: WatchLiveChangesRequest, context: CallContext): AsyncGenerator<WatchLiveChangesResponse> {
    await auth.authenticate(context.metadata);
    const agentId = Number(request.agentId);
    if (agentId <= 0) throw new UserError('agent_id is missing; name the agent');
    const kinds = new Set(request.kinds);
    const from = request.cursor === '' ? await changes.newest(agentId) : request.cursor;
    yield { cursor: from, change: undefined };
    for await (const { cursor, change } of changes.follow(agentId, from, context.signal))
      if (kinds.size === 0 || kinds.has(kindName(change))) yield { cursor, change: toMessage(change) };
  }
  return { watchLiveChanges: handlers.serverStreaming(watch) };
}

function toMessage({ type, group, kind, namespace, name, resourceVersion, object }: LiveChange) {
  return { type: TYPES[type], group, kind, namespace, name, resourceVersion, json: Buffer.from(object) };
}
