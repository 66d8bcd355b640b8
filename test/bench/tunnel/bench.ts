import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { AbortScope } from '../../../lib/abort.ts';
import { UserError } from '../../../lib/errors.ts';
import { type ControlPlane, startControlPlane } from '../../harness/cluster.ts';
import { type Program, startProgram } from '../../harness/process.ts';
import { freeAddresses } from '../../harness/stack-files.ts';
import { OTHER_PROJECT, TunnelStack } from '../../tunnel/tunnel-stack.ts';
import type { Bench, Figure } from '../figure.ts';
import { cache } from './cache.ts';
import { ProxyClient } from './client.ts';
import { concurrency, stalledReaders, throughput } from './flows.ts';
import { goneClient, latency } from './requests.ts';
import { manySlowReaders, oneSlowReader } from './slow-readers.ts';

/** One kas, one agentk, a real API server, and an HTTP server beside agentk. */
export interface Setup {
  readonly stack: TunnelStack;
  readonly client: ProxyClient;
  readonly controlPlane: ControlPlane;
  /** Ports of source.ts. */
  readonly source: { readonly http: number; readonly grpc: number };
}

const ROUND_TRIP_MS = 50;

/** What passes one reader of 1 MB/s: 18 minutes. */
const SLOW_READER_BYTES = 2 ** 30;

/**
 * Requests into a cluster through kas and agentk. One slow reader has a kas and an agentk of its own beside all that is
 * measured otherwise, and takes longest; `--slow-reader-bytes N` lets it read less than 1 GiB.
 */
export const run: Bench = async ({ args, progress }, signal) => {
  const { values } = parseArgs({ args: [...args], options: { 'slow-reader-bytes': { type: 'string' } } });
  const bytes = Number(values['slow-reader-bytes'] ?? SLOW_READER_BYTES);
  if (!Number.isSafeInteger(bytes) || bytes <= 0) throw new UserError('--slow-reader-bytes is a number of bytes');
  await using controlPlane = await startControlPlane({ progress }, signal);
  await using program = await startProgram('test/bench/tunnel/source.ts', []);
  const source = JSON.parse(await program.waitForLine(/^\{/)) as Setup['source'];
  using scope = new AbortScope(signal);
  const { promise: begun, resolve: onBegin } = Promise.withResolvers<void>();
  const slowStack = async (): Promise<TunnelStack> => await open(controlPlane, source.http);
  const slow = oneSlowReader({ open: slowStack, bytes, onBegin, progress }, scope.signal);
  try {
    // Programs that start would show in the latency of a request.
    await Promise.race([begun, slow]);
    const figures = [
      ...(await onLoopback(controlPlane, source, progress, signal)),
      ...(await farAway(controlPlane, source, progress, signal)),
    ];
    progress('the slow reader goes on alone');
    return [...figures, ...(await slow)];
  } finally {
    scope.abort(new DOMException('The bench is over', 'AbortError'));
    // Its programs are ended before the control plane is.
    await slow.catch(() => undefined);
  }
};

async function onLoopback(
  controlPlane: ControlPlane,
  source: Setup['source'],
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  const measure = async (what: string, work: () => Promise<readonly Figure[]>): Promise<void> => {
    progress(what);
    figures.push(...(await work()));
  };
  await using stack = await open(controlPlane, source.http);
  const client = new ProxyClient(stack.proxy, await stack.userToken('ann'));
  const setup: Setup = { stack, client, controlPlane, source };
  await measure('added latency', async () => await latency(setup, signal));
  await measure('concurrent requests', async () => await concurrency(setup, signal));
  await measure('throughput', async () => await throughput(setup, { name: 'loopback', grpcPort: source.grpc }, signal));
  await measure('many slow readers', async () => await manySlowReaders(setup, signal));
  await measure('stalled readers', async () => await stalledReaders(setup, signal));
  await measure('a client that goes away', async () => await goneClient(setup, signal));
  await measure('the object cache', async () => await cache(setup, signal));
  return figures;
}

async function farAway(
  controlPlane: ControlPlane,
  source: Setup['source'],
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  progress(`throughput at ${ROUND_TRIP_MS} ms`);
  const addresses = await freeAddresses();
  await using toKas = await delayed(Number(addresses.kasAgents.split(':')[1]));
  await using toSource = await delayed(source.grpc);
  const [kasPort, grpcPort] = [await portOf(toKas), await portOf(toSource)];
  await using stack = await open(controlPlane, source.http, { addresses, kasSeenByAgent: `127.0.0.1:${kasPort}` });
  const client = new ProxyClient(stack.proxy, await stack.userToken('ann'));
  return await throughput({ stack, client, controlPlane, source }, { name: `${ROUND_TRIP_MS} ms`, grpcPort }, signal);
}

async function open(
  { kubeconfigPath, kubectlPath }: ControlPlane,
  httpPort: number,
  options: Pick<Parameters<typeof TunnelStack.open>[0], 'addresses' | 'kasSeenByAgent'> = {},
): Promise<TunnelStack> {
  const configuration = `user_access:
  access_as: { agent: {} }
  projects: [{ id: ${OTHER_PROJECT} }]
http_services:
  - name: source
    url: http://127.0.0.1:${httpPort}
`;
  return await TunnelStack.open({ kubeconfigPath, kubectlPath, configuration, plain: true, ...options });
}

async function delayed(port: number): Promise<Program> {
  return await startProgram(join('test/bench/tunnel/delay.ts'), [String(port), String(ROUND_TRIP_MS)]);
}

async function portOf(program: Program): Promise<number> {
  return Number(await program.waitForLine(/^\d+$/));
}
