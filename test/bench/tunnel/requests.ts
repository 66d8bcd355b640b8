import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { waitUntil } from '../../harness/wait-until.ts';
import type { Figure } from '../figure.ts';
import { median } from '../statistics.ts';
import type { Setup } from './bench.ts';

const REQUESTS = 500;
const WARM_UP = 200;
const PATH = '/api/v1/namespaces/default';

/** What kas, agentk and the tunnel between them add to a small request, one at a time. */
export async function latency({ client, controlPlane }: Setup, signal: AbortSignal): Promise<readonly Figure[]> {
  using direct = await ApiServer.open(controlPlane);
  const [through, without]: [number[], number[]] = [[], []];
  for (let round = 0; round < WARM_UP + REQUESTS; round += 1) {
    const isCounted = round >= WARM_UP;
    const viaKas = await timeOf(async () => await client.read(PATH, signal));
    const directly = await timeOf(async () => await direct.read(PATH, signal));
    if (isCounted) through.push(viaKas);
    if (isCounted) without.push(directly);
  }
  const added = median(through) - median(without);
  return [{ workload: 'GET of an object: added latency', unit: 'ms p50', better: 'less', ours: added, target: { atMost: 3 } }];
}

/** How long the API server goes on with a watch of a client that is gone, by its own metrics. */
export async function goneClient({ client, controlPlane }: Setup, signal: AbortSignal): Promise<readonly Figure[]> {
  using direct = await ApiServer.open(controlPlane);
  const running = async (): Promise<number> => await direct.watches('configmaps', signal);
  const times: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const before = await running();
    const watch = new AbortController();
    const response = await client.open('/api/v1/namespaces/default/configmaps?watch=true', watch.signal);
    response.on('error', () => undefined);
    response.resume();
    await waitUntil(async () => (await running()) === before + 1, { what: 'the API server to count the watch' }, signal);
    const gone = await timeOf(async () => {
      watch.abort();
      await waitUntil(async () => (await running()) === before, { what: 'the watch to end', intervalMs: 5 }, signal);
    });
    times.push(gone);
  }
  const ours = Math.max(...times);
  return [
    {
      workload: "watch of a client that is gone: its end, by the API server's metrics",
      unit: 'ms max',
      better: 'less',
      ours,
      target: { atMost: 1_000 },
    },
  ];
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** The API server without kas. */
class ApiServer implements Disposable {
  readonly #agent: Agent;
  readonly #server: string;
  readonly #token: string;

  private constructor(server: string, token: string, ca: Buffer) {
    this.#agent = new Agent({ keepAlive: true, ca });
    this.#server = server;
    this.#token = token;
  }

  static async open({ server, token, caFile }: Setup['controlPlane']): Promise<ApiServer> {
    return new ApiServer(server, token, await readFile(caFile));
  }

  async read(path: string, signal: AbortSignal): Promise<string> {
    const headers = { authorization: `Bearer ${this.#token}` };
    const outgoing = request(`${this.#server}${path}`, { agent: this.#agent, headers, signal });
    outgoing.end();
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).toString('utf8');
  }

  /** Watches of a kind in one namespace that run now. */
  async watches(resource: string, signal: AbortSignal): Promise<number> {
    const text = await this.read('/metrics', signal);
    const lines = text.split('\n').filter((line) => line.startsWith('apiserver_longrunning_requests{'));
    const wanted = [`resource="${resource}"`, 'scope="namespace"', 'verb="WATCH"'];
    return lines
      .filter((line) => wanted.every((label) => line.includes(label)))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
