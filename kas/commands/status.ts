import { UserError } from '../../lib/errors.ts';
import { type CallSettings, callServerStream, callUnary } from '../../lib/grpc/call.ts';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import {
  SyncStatusServiceClient,
  type UnitSelector,
  UnitStatus,
  WatchSyncStatusResponse,
} from '../../proto/gen/kas/api/v1/sync_status.ts';
import { API_OPTIONS, API_USAGE, apiAccess, apiError } from './api-client.ts';
import { parseCommandLine } from './command-line.ts';
import { formatUnits } from './status-table.ts';

export const STATUS_USAGE = `kas status ${API_USAGE} [--agent NAME] [--watch] [--output table|json]`;

const OPTIONS = {
  ...API_OPTIONS,
  agent: 'string',
  watch: 'boolean',
  output: 'string',
} as const;

const TIMEOUT_MS = 10_000;
/** Exit code when a unit is degraded or failed. */
const EXIT_UNHEALTHY = 2;

/**
 * Shows what is live, what is not, and why. Exit code: 0, or 2 when a unit is degraded or failed (without `--watch`).
 */
export async function runStatus(args: readonly string[], signal: AbortSignal): Promise<void> {
  const values = parseCommandLine(args, OPTIONS, STATUS_USAGE);
  const output = values['output'] ?? 'table';
  if (output !== 'table' && output !== 'json') throw new UserError(`--output must be table or json\nUsage: ${STATUS_USAGE}`);
  const { address, credentials, metadata } = await apiAccess(values, 'kas-status', STATUS_USAGE);
  const client = new SyncStatusServiceClient(address, credentials, { 'grpc.max_receive_message_length': -1 });
  const selector: UnitSelector = {
    agent: typeof values['agent'] === 'string' ? { $case: 'agentName', value: values['agent'] } : undefined,
    unit: '',
  };
  try {
    if (values['watch'] === true) await watch(client, selector, { metadata }, output, signal);
    else await show(client, selector, { metadata, timeoutMs: TIMEOUT_MS }, output, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw apiError(address, error);
  } finally {
    client.close();
  }
}

type Output = 'table' | 'json';

async function show(
  client: SyncStatusServiceClient,
  selector: UnitSelector,
  settings: CallSettings,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const { units } = await callUnary(client.getSyncStatus.bind(client), { selector }, settings, signal);
  if (output === 'json')
    process.stdout.write(
      `${JSON.stringify(
        units.map((unit) => UnitStatus.toJSON(unit)),
        undefined,
        2,
      )}\n`,
    );
  else process.stdout.write(formatUnits(units, new Date()));
  const unhealthy = units.some(({ phase }) => phase === Phase.PHASE_DEGRADED || phase === Phase.PHASE_FAILED);
  if (unhealthy) process.exitCode = EXIT_UNHEALTHY;
}

/** The whole table whenever something changed; as JSON, one line for each message. */
async function watch(
  client: SyncStatusServiceClient,
  selector: UnitSelector,
  settings: CallSettings,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const units = new Map<string, UnitStatus>();
  let ready = false;
  const responses = callServerStream(client.watchSyncStatus.bind(client), { selector }, settings, signal);
  for await (const response of responses) {
    if (output === 'json') {
      process.stdout.write(`${JSON.stringify(WatchSyncStatusResponse.toJSON(response))}\n`);
      continue;
    }
    const { message } = response;
    if (message?.$case === 'unit') units.set(`${message.value.agentId}/${message.value.unit}`, message.value);
    else if (message?.$case === 'removed') units.delete(`${message.value.agentId}/${message.value.unit}`);
    else if (message?.$case === 'ready') ready = true;
    if (ready) process.stdout.write(`${formatUnits([...units.values()], new Date())}\n`);
  }
}
