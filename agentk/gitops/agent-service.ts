import { UserError } from '../../lib/errors.ts';
import {
  type DiffUnitRequest,
  type DiffUnitResponse,
  GitopsModuleService as definition,
  ObjectDiff_Change,
  type ResyncUnitRequest,
  type WatchEventsRequest,
  type WatchEventsResponse,
} from '../../proto/gen/kas/agent/v1/gitops_module.ts';
import { type AgentCall, type AgentService, serverStreaming, unary } from '../services/agent-service.ts';
import type { ObjectDiff } from './diff/unit-diff.ts';
import type { EventHub } from './events/event-hub.ts';
import type { Engine } from './unit.ts';

const CHANGES: Readonly<Record<ObjectDiff['change'], ObjectDiff_Change>> = {
  create: ObjectDiff_Change.CHANGE_CREATE,
  configure: ObjectDiff_Change.CHANGE_CONFIGURE,
  delete: ObjectDiff_Change.CHANGE_DELETE,
  unknown: ObjectDiff_Change.CHANGE_UNKNOWN,
};

/** In one message: each has its fields' values, of which none is long. */
const OBJECTS_AT_ONCE = 20;

/** `kas.agent.v1.GitopsModule`, for callers outside of the cluster. */
export function gitopsService(engine: Promise<Engine>, events: EventHub): AgentService {
  async function* diff({ unit }: DiffUnitRequest, { signal }: AgentCall): AsyncGenerator<DiffUnitResponse, void, void> {
    const found = await (await engine).diff(unit, signal);
    if (found === undefined) throw noSuchUnit(unit);
    const { commitId } = found;
    // At least one message, which says the commit.
    for (let at = 0; at === 0 || at < found.objects.length; at += OBJECTS_AT_ONCE)
      yield { commitId, objects: found.objects.slice(at, at + OBJECTS_AT_ONCE).map(toMessage) };
  }

  async function* watch({ units }: WatchEventsRequest, { signal }: AgentCall): AsyncGenerator<WatchEventsResponse, void, void> {
    for await (const event of events.follow(signal)) if (units.length === 0 || units.includes(event.unit)) yield { event };
  }

  const resync = async ({ unit }: ResyncUnitRequest): Promise<Record<never, never>> => {
    if (!(await engine).resync(unit)) throw noSuchUnit(unit);
    return {};
  };
  return {
    definition,
    handlers: { resyncUnit: unary(resync), diffUnit: serverStreaming(diff), watchEvents: serverStreaming(watch) },
  };
}

function noSuchUnit(unit: string): UserError {
  return new UserError(`the agent has no unit "${unit}"; name one of its configuration`, {
    kind: 'not_found',
    reason: 'NoSuchUnit',
  });
}

function toMessage({ id, change, fields, message }: ObjectDiff) {
  return {
    id,
    change: CHANGES[change],
    fields: fields.map(({ path, desired = '', live = '' }) => ({ path, desired, live })),
    message,
  };
}
