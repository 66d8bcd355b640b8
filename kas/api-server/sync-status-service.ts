import { UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type {
  GetSyncStatusRequest,
  GetSyncStatusResponse,
  SyncStatusServiceServer,
  WatchSyncStatusRequest,
  WatchSyncStatusResponse,
} from '../../proto/gen/kas/api/v1/sync_status.ts';
import type { StatusStore, UnitSelector } from '../sync-status/status-store.ts';
import type { UnitOverrides } from '../unit-operations/unit-overrides.ts';
import type { AgentDirectory } from './agent-directory.ts';
import type { ApiAuth } from './api-auth.ts';
import { type FindOverride, fromStatusChange, fromUnitStatus, toUnitSelector } from './sync-status-messages.ts';

export interface SyncStatusServiceDeps {
  readonly auth: ApiAuth;
  readonly store: StatusStore;
  readonly directory: AgentDirectory;
  readonly overrides: UnitOverrides;
}

/** kas.api.v1.SyncStatusService: what is live, what is not, and why. */
export function createSyncStatusService(handlers: Handlers, deps: SyncStatusServiceDeps): SyncStatusServiceServer {
  const { auth, store, directory, overrides } = deps;
  const override: FindOverride = (agentId, unit) => overrides.of(agentId).get(unit);

  async function get({ selector }: GetSyncStatusRequest, context: CallContext): Promise<GetSyncStatusResponse> {
    await auth.authenticate(context.metadata);
    const wanted = toUnitSelector(selector);
    await checkAgent(wanted, context.signal);
    const units = await store.get(wanted, context.signal);
    return { units: units.map((unit) => fromUnitStatus(unit, override)) };
  }

  async function* watch(
    { selector }: WatchSyncStatusRequest,
    context: CallContext,
  ): AsyncGenerator<WatchSyncStatusResponse, void, void> {
    await auth.authenticate(context.metadata);
    const wanted = toUnitSelector(selector);
    await checkAgent(wanted, context.signal);
    for await (const change of store.watch(wanted, context.signal)) yield fromStatusChange(change, override);
  }

  async function checkAgent({ agentId, agentName }: UnitSelector, signal: AbortSignal): Promise<void> {
    if (agentId === undefined && agentName === undefined) return;
    const registered = directory.agents().some((agent) => agent.id === agentId || agent.name === agentName);
    if (registered) return;
    const key = { ...(agentId === undefined ? {} : { id: agentId }), ...(agentName === undefined ? {} : { name: agentName }) };
    if (await store.knows(key, signal)) return;
    throw new UserError(`there is no agent ${agentName === undefined ? `with id ${agentId}` : `"${agentName}"`}`, {
      kind: 'not_found',
      reason: 'UnknownAgent',
    });
  }

  return { getSyncStatus: handlers.unary(get), watchSyncStatus: handlers.serverStreaming(watch) };
}
