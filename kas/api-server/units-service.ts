import { UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type {
  ConfirmPruneRequest,
  PinUnitRequest,
  ResyncUnitRequest,
  SuspendUnitRequest,
  UnitRef,
  UnitsServiceServer,
} from '../../proto/gen/kas/api/v1/units.ts';
import type { UnitCommand } from '../agent-session/agent-message.ts';
import type { AgentInfo } from '../registry/registry.ts';
import type { StatusStore } from '../sync-status/status-store.ts';
import type { UnitStatus } from '../sync-status/unit-status.ts';
import type { UnitOverrides } from '../unit-operations/unit-overrides.ts';
import type { AgentDirectory } from './agent-directory.ts';
import type { ApiAuth } from './api-auth.ts';

/** Brings commands to the sessions of an agent. */
export interface UnitCommander {
  /** False when the agent has no session. UnavailableError when that cannot be told. */
  send(agentId: number, unit: string, command: UnitCommand, signal: AbortSignal): Promise<boolean>;
}

export interface UnitsServiceDeps {
  readonly auth: ApiAuth;
  readonly store: StatusStore;
  readonly directory: AgentDirectory;
  readonly overrides: UnitOverrides;
  readonly commands: UnitCommander;
  readonly now?: () => number;
}

interface Found {
  readonly agent: Pick<AgentInfo, 'id' | 'name'>;
  readonly unit: string;
  /** Undefined when nothing was heard of the agent since kas started. */
  readonly status: UnitStatus | undefined;
}

const MAX_REASON_LENGTH = 1_000;

/** kas.api.v1.UnitsService: what people do to a unit beside committing. */
export function createUnitsService(handlers: Handlers, deps: UnitsServiceDeps): UnitsServiceServer {
  const { auth, overrides, commands } = deps;
  const now = deps.now ?? Date.now;
  const find = async (ref: UnitRef | undefined, { metadata, signal }: CallContext): Promise<Found> => {
    await auth.authenticate(metadata);
    return await findUnit(deps, ref, signal);
  };
  const command = async ({ agent, unit }: Found, what: UnitCommand, { signal }: CallContext): Promise<Record<string, never>> => {
    if (await commands.send(agent.id, unit, what, signal)) return {};
    throw new UserError(`agent "${agent.name}" is not connected; try again when it is`, {
      kind: 'precondition',
      reason: 'AgentNotConnected',
    });
  };
  async function suspend({ unit, reason }: SuspendUnitRequest, context: CallContext) {
    const found = await find(unit, context);
    const suspension = { since: new Date(now()), reason: checkReason(reason) };
    await overrides.change(found.agent.id, found.unit, { suspension });
    return {};
  }
  async function resume(request: { readonly unit?: UnitRef | undefined }, context: CallContext) {
    const found = await find(request.unit, context);
    await overrides.change(found.agent.id, found.unit, { suspension: undefined });
    return {};
  }
  async function pin({ unit, commitId, expiresAt, reason }: PinUnitRequest, context: CallContext) {
    const found = await find(unit, context);
    if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(commitId))
      throw new UserError('commit_id must be a full commit id of 40 (or 64) lower-case hexadecimal digits; write it out');
    if (expiresAt !== undefined && expiresAt.getTime() <= now())
      throw new UserError('expires_at lies in the past; name a time to come, or none');
    const since = new Date(now());
    await overrides.change(found.agent.id, found.unit, { pin: { commitId, expiresAt, since, reason: checkReason(reason) } });
    return {};
  }
  async function unpin(request: { readonly unit?: UnitRef | undefined }, context: CallContext) {
    const found = await find(request.unit, context);
    await overrides.change(found.agent.id, found.unit, { pin: undefined });
    return {};
  }
  async function resync({ unit }: ResyncUnitRequest, context: CallContext) {
    return await command(await find(unit, context), { type: 'resync' }, context);
  }
  async function confirmPrune({ unit, commitId }: ConfirmPruneRequest, context: CallContext) {
    const found = await find(unit, context);
    const { appliedCommitId = '', appliedDigest = '' } = found.status ?? {};
    if (appliedDigest === '' || commitId !== appliedCommitId)
      throw new UserError(
        `the agent's newest sync is of commit ${appliedCommitId === '' ? '(none)' : appliedCommitId}, not of ${commitId === '' ? '(none)' : commitId}; ` +
          'look at the sync status again and confirm what it says now',
        { kind: 'precondition', reason: 'AnotherCommit' },
      );
    return await command(found, { type: 'confirmPrune', bundleDigest: appliedDigest }, context);
  }
  return {
    suspendUnit: handlers.unary(suspend),
    resumeUnit: handlers.unary(resume),
    pinUnit: handlers.unary(pin),
    unpinUnit: handlers.unary(unpin),
    resyncUnit: handlers.unary(resync),
    confirmPrune: handlers.unary(confirmPrune),
  };
}

async function findUnit(deps: UnitsServiceDeps, ref: UnitRef | undefined, signal: AbortSignal): Promise<Found> {
  if (ref === undefined || ref.unit === '' || (ref.agentName === '' && ref.agentId === 0n))
    throw new UserError('name the unit: agent_name (or agent_id) and unit are both needed');
  const agent = await findAgent(deps, ref, signal);
  const units = (await deps.store.get({ agentId: agent.id }, signal)).filter(({ unit }) => unit !== '');
  const status = units.find(({ unit }) => unit === ref.unit);
  if (status === undefined && units.length > 0)
    throw new UserError(
      `agent "${agent.name}" has no unit "${ref.unit}"; it has ${units.map(({ unit }) => `"${unit}"`).join(', ')}`,
      { kind: 'not_found', reason: 'UnknownUnit' },
    );
  return { agent, unit: ref.unit, status };
}

/** One that is registered, or of which something was heard: with GitLab a replica does not know all that are registered. */
async function findAgent(deps: UnitsServiceDeps, { agentName, agentId }: UnitRef, signal: AbortSignal): Promise<Found['agent']> {
  const id = Number(agentId);
  const isMeant = (agent: Found['agent']): boolean => (id === 0 ? agent.name === agentName : agent.id === id);
  const heardOf = await deps.store.get(id === 0 ? { agentName } : { agentId: id }, signal);
  const known = [...deps.directory.agents(), ...heardOf.map((unit) => ({ id: unit.agentId, name: unit.agentName }))];
  const found = new Map(known.filter(isMeant).map((agent) => [agent.id, agent]));
  const [agent] = found.values();
  if (agent === undefined)
    throw new UserError(`there is no agent ${id === 0 ? `"${agentName}"` : `with id ${id}`}`, {
      kind: 'not_found',
      reason: 'UnknownAgent',
    });
  if (found.size > 1)
    throw new UserError(`several agents have the name "${agentName}"; give agent_id, one of ${[...found.keys()].join(', ')}`);
  return agent;
}

function checkReason(reason: string): string {
  if (reason.length <= MAX_REASON_LENGTH) return reason;
  throw new UserError(`reason is longer than ${MAX_REASON_LENGTH} characters; shorten it`);
}
