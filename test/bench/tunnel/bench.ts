import { join } from 'node:path';
import { type ControlPlane, startControlPlane } from '../../harness/cluster.ts';
import { type Program, startProgram } from '../../harness/process.ts';
import { freeAddresses } from '../../harness/stack-files.ts';
import { OTHER_PROJECT, TunnelStack } from '../../tunnel/tunnel-stack.ts';
import type { Bench, Figure } from '../figure.ts';
import { cache } from './cache.ts';
import { ProxyClient } from './client.ts';
import { concurrency, memory, stalledReaders, throughput } from './flows.ts';
import { goneClient, latency } from './requests.ts';

/** One kas, one agentk, a real API server, and an HTTP server beside agentk. */
export interface Setup {
  readonly stack: TunnelStack;
  readonly client: ProxyClient;
  readonly controlPlane: ControlPlane;
  /** Ports of source.ts. */
  readonly source: { readonly http: number; readonly grpc: number };
}

const ROUND_TRIP_MS = 50;

/** Requests into a cluster through kas and agentk. */
export const run: Bench = async ({ progress }, signal) => {
  const figures: Figure[] = [];
  const measure = async (what: string, work: () => Promise<readonly Figure[]>): Promise<void> => {
    progress(what);
    figures.push(...(await work()));
  };
  await using controlPlane = await startControlPlane({ progress }, signal);
  await using program = await startProgram('test/bench/tunnel/source.ts', []);
  const source = JSON.parse(await program.waitForLine(/^\{/)) as Setup['source'];
  {
    await using stack = await open(controlPlane, source.http);
    const client = new ProxyClient(stack.proxy, await stack.userToken('ann'));
    const setup: Setup = { stack, client, controlPlane, source };
    await measure('added latency', async () => await latency(setup, signal));
    await measure('concurrent requests', async () => await concurrency(setup, signal));
    await measure('throughput', async () => await throughput(setup, { name: 'loopback', grpcPort: source.grpc }, signal));
    await measure('memory', async () => await memory(setup, signal));
    await measure('stalled readers', async () => await stalledReaders(setup, signal));
    await measure('a client that goes away', async () => await goneClient(setup, signal));
    await measure('the object cache', async () => await cache(setup, signal));
  }
  progress(`throughput at ${ROUND_TRIP_MS} ms`);
  const addresses = await freeAddresses();
  await using toKas = await delayed(Number(addresses.kasAgents.split(':')[1]));
  await using toSource = await delayed(source.grpc);
  const [kasPort, grpcPort] = [await portOf(toKas), await portOf(toSource)];
  await using stack = await open(controlPlane, source.http, { addresses, kasSeenByAgent: `127.0.0.1:${kasPort}` });
  const client = new ProxyClient(stack.proxy, await stack.userToken('ann'));
  figures.push(...(await throughput({ stack, client, controlPlane, source }, { name: `${ROUND_TRIP_MS} ms`, grpcPort }, signal)));
  return figures;
};

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
