import { readFile } from 'node:fs/promises';
import { ChannelCredentials, Metadata } from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';
import { type CallSettings, callServerStream, callUnary } from '../../lib/grpc/call.ts';
import { signJwt } from '../../lib/jwt.ts';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import {
  SyncStatusServiceClient,
  type UnitSelector,
  UnitStatus,
  WatchSyncStatusResponse,
} from '../../proto/gen/kas/api/v1/sync_status.ts';
import { readApiSecret } from '../api-server/api-auth.ts';
import { parseCommandLine, required } from './command-line.ts';
import { formatUnits } from './status-table.ts';

export const STATUS_USAGE =
  'kas status --api ADDRESS --secret-file FILE [--ca-file FILE] [--agent NAME] [--watch] [--output table|json]';

const OPTIONS = {
  api: 'string',
  'secret-file': 'string',
  'ca-file': 'string',
  agent: 'string',
  watch: 'boolean',
  output: 'string',
} as const;

const TIMEOUT_MS = 10_000;
/** Exit code when a unit is degraded or failed. */
const EXIT_UNHEALTHY = 2;

/**
 * Shows what is live, what is not, and why. Exit code: 0, or 2 when a unit is degraded or failed (without `--watch`).
 * It speaks TLS to `grpcs://`, with the CAs of the system or those of the CA file; plain text otherwise.
 */
export async function runStatus(args: readonly string[], signal: AbortSignal): Promise<void> {
  const values = parseCommandLine(args, OPTIONS, STATUS_USAGE);
  const output = values['output'] ?? 'table';
  if (output !== 'table' && output !== 'json') throw new UserError(`--output must be table or json\nUsage: ${STATUS_USAGE}`);
  const url = required(values, 'api', STATUS_USAGE);
  const address = url.replace(/^grpcs?:\/\//, '');
  const secret = await readApiSecret(required(values, 'secret-file', STATUS_USAGE));
  const client = new SyncStatusServiceClient(address, await channelCredentials(url, values['ca-file']), {
    'grpc.max_receive_message_length': -1,
  });
  const selector: UnitSelector = {
    agent: typeof values['agent'] === 'string' ? { $case: 'agentName', value: values['agent'] } : undefined,
    unit: '',
  };
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${await signJwt(secret, { issuer: 'kas-status' })}`);
  try {
    if (values['watch'] === true) await watch(client, selector, { metadata }, output, signal);
    else await show(client, selector, { metadata, timeoutMs: TIMEOUT_MS }, output, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw new UserError(`${address}: ${(error as Error).message}`, { cause: error });
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

async function channelCredentials(url: string, caFile: string | boolean | undefined): Promise<ChannelCredentials> {
  if (typeof caFile !== 'string')
    return url.startsWith('grpcs://') ? ChannelCredentials.createSsl() : ChannelCredentials.createInsecure();
  try {
    return ChannelCredentials.createSsl(await readFile(caFile));
  } catch (error) {
    throw new UserError(`Cannot use the CA file ${caFile}: ${(error as Error).message}`, { cause: error });
  }
}
