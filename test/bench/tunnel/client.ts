import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { Metadata } from '@grpc/grpc-js';
import { CLIENT_WINDOW } from '../../../lib/grpc/windows.ts';
import { byteClient } from '../../harness/byte-service.ts';

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

/** A caller of kas' proxy, by plain HTTP. */
export class ProxyClient {
  readonly #proxy: string;
  readonly #token: string;

  /** `proxy` is `host:port`. */
  constructor(proxy: string, token: string) {
    this.#proxy = proxy;
    this.#token = token;
  }

  async open(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    const [host = '', port = ''] = this.#proxy.split(':');
    const outgoing = request({ host, port, path, agent, headers: { authorization: `Bearer ${this.#token}` }, signal });
    outgoing.end();
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    if (response.statusCode === 200) return response;
    const chunks: Buffer[] = [];
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
    throw new Error(`${path}: ${response.statusCode} ${Buffer.concat(chunks).toString('utf8')}`);
  }

  /** Reads an answer to its end; the number of its bytes. */
  async read(path: string, signal: AbortSignal): Promise<number> {
    const response = await this.open(path, signal);
    let bytes = 0;
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    await once(response, 'end');
    return bytes;
  }

  /** As `read`, no faster than so many bytes a second. `onRead` hears how many bytes there were so far. */
  async readSlowly(path: string, bytesPerSecond: number, onRead: (bytes: number) => void, signal: AbortSignal): Promise<number> {
    const response = await this.open(path, signal);
    const startedAt = performance.now();
    let bytes = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      onRead(bytes);
      const early = (bytes / bytesPerSecond) * 1_000 - (performance.now() - startedAt);
      if (early > 1) await delay(early, undefined, { signal });
    }
    return bytes;
  }
}

/** Reads a gRPC stream of so many bytes to its end. */
export async function readStream(port: number, bytes: number): Promise<void> {
  const client = byteClient(port, { ...CLIENT_WINDOW, 'grpc.use_local_subchannel_pool': 1 });
  const call = client.list(Buffer.from(String(bytes)), new Metadata(), {});
  call.on('data', () => undefined);
  await once(call, 'end');
  client.close();
}

/** MiB in a second. */
export async function speedOf(bytes: number, work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return bytes / 2 ** 20 / ((performance.now() - startedAt) / 1_000);
}
