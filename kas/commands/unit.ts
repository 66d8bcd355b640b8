import { parseDuration } from '../../lib/duration.ts';
import { UserError } from '../../lib/errors.ts';
import { callUnary } from '../../lib/grpc/call.ts';
import { UnitsServiceClient } from '../../proto/gen/kas/api/v1/units.ts';
import { API_OPTIONS, API_USAGE, apiAccess, apiError } from './api-client.ts';
import { type OptionValues, parseCommandLine, required } from './command-line.ts';

export const UNIT_USAGE = `kas unit suspend|resume|pin|unpin|resync|confirm-prune --agent NAME --unit NAME
    [--commit ID] [--for DURATION] [--reason TEXT] ${API_USAGE}`;

const OPTIONS = { ...API_OPTIONS, agent: 'string', unit: 'string', commit: 'string', for: 'string', reason: 'string' } as const;
const TIMEOUT_MS = 10_000;

/** Which options an action takes beside the unit. */
const ACTIONS: Readonly<Record<string, readonly string[]>> = {
  suspend: ['reason'],
  resume: [],
  pin: ['commit', 'for', 'reason'],
  unpin: [],
  resync: [],
  'confirm-prune': ['commit'],
};

/** What people do to a unit beside committing. Says what was done, or fails with a UserError. */
export async function runUnit(args: readonly string[], signal: AbortSignal): Promise<void> {
  const [action = '', ...rest] = args;
  const allowed = ACTIONS[action];
  if (allowed === undefined) throw new UserError(`unknown command "unit ${action}"\nUsage: ${UNIT_USAGE}`);
  const values = parseCommandLine(rest, OPTIONS, UNIT_USAGE);
  for (const name of ['commit', 'for', 'reason'])
    if (values[name] !== undefined && !allowed.includes(name))
      throw new UserError(`--${name} means nothing to "unit ${action}"\nUsage: ${UNIT_USAGE}`);
  const agentName = required(values, 'agent', UNIT_USAGE);
  const unit = required(values, 'unit', UNIT_USAGE);
  const commitId = allowed.includes('commit') ? required(values, 'commit', UNIT_USAGE) : '';
  const expiresAt = expiry(values);
  const { address, credentials, metadata } = await apiAccess(values, 'kas-unit', UNIT_USAGE);
  const client = new UnitsServiceClient(address, credentials);
  const request = { unit: { agentName, unit, agentId: 0n }, commitId, expiresAt, reason: text(values, 'reason') };
  try {
    await call(client, action, request, { metadata, timeoutMs: TIMEOUT_MS }, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw apiError(address, error);
  } finally {
    client.close();
  }
  process.stdout.write(`unit "${unit}" of agent "${agentName}": ${DONE[action] ?? ''}\n`);
}

const DONE: Readonly<Record<string, string>> = {
  suspend: 'suspended; nothing is written until it is resumed',
  resume: 'resumed',
  pin: 'pinned',
  unpin: 'follows its ref again',
  resync: 'is being compared with Git',
  'confirm-prune': 'the prune goes on',
};

type Request = Parameters<UnitsServiceClient['pinUnit']>[0];
type Settings = Parameters<typeof callUnary>[2];

async function call(client: UnitsServiceClient, action: string, request: Request, settings: Settings, signal: AbortSignal) {
  switch (action) {
    case 'suspend':
      return await callUnary(client.suspendUnit.bind(client), request, settings, signal);
    case 'resume':
      return await callUnary(client.resumeUnit.bind(client), request, settings, signal);
    case 'pin':
      return await callUnary(client.pinUnit.bind(client), request, settings, signal);
    case 'unpin':
      return await callUnary(client.unpinUnit.bind(client), request, settings, signal);
    case 'resync':
      return await callUnary(client.resyncUnit.bind(client), request, settings, signal);
    default:
      return await callUnary(client.confirmPrune.bind(client), request, settings, signal);
  }
}

function expiry(values: OptionValues): Date | undefined {
  const given = text(values, 'for');
  if (given === '') return undefined;
  const ms = parseDuration(given);
  if (ms === undefined || ms === 0)
    throw new UserError(`--for must be a duration; write it like 8h or 30m\nUsage: ${UNIT_USAGE}`);
  return new Date(Date.now() + ms);
}

function text(values: OptionValues, name: string): string {
  const value = values[name];
  return typeof value === 'string' ? value : '';
}
