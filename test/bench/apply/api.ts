import { readFileSync } from 'node:fs';
import http2, { type ClientHttp2Session } from 'node:http2';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { ControlPlane } from '../../controlplane/control-plane.ts';
import { type Manifest, objectPath } from './manifests.ts';
import { parseRequestCounts, type RequestCounts } from './request-counts.ts';

export interface WatchedObject {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

const APPLY = 'application/apply-patch+yaml';

/** The bench's own way to the API server, apart from all code under test: one HTTP/2 connection. */
export class Api implements AsyncDisposable {
  readonly #controlPlane: ControlPlane;
  #session: ClientHttp2Session;

  constructor(controlPlane: ControlPlane) {
    this.#controlPlane = controlPlane;
    this.#session = connect(controlPlane);
  }

  /** The body of the answer; rejects when its status is not 2xx. */
  async request(method: string, path: string, body?: string, contentType = 'application/json'): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const stream = this.#open().request({ ...this.#head(method, path), 'content-type': contentType });
    const chunks: Buffer[] = [];
    let status = 0;
    stream.on('response', (headers) => {
      status = headers[':status'] ?? 0;
    });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', reject);
    stream.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      if (status >= 200 && status < 300) resolve(text);
      else reject(new Error(`${method} ${path}: ${status} ${text.slice(0, 300)}`));
    });
    stream.end(body);
    return await promise;
  }

  async createNamespace(name: string): Promise<void> {
    await this.request('POST', '/api/v1/namespaces', JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }));
  }

  /**
   * The limit of what a client can reach: bodies that were made before are sent as server-side applies, so many at a time,
   * and their answers are not looked at. Milliseconds.
   */
  async applyRaw(manifests: readonly Manifest[], inFlight: number, fieldManager = 'bench-raw'): Promise<number> {
    const requests = manifests.map((manifest) => ({
      path: `${objectPath(manifest)}?fieldManager=${fieldManager}&force=true`,
      body: JSON.stringify(manifest),
    }));
    const startedAt = performance.now();
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let request = requests[next++]; request !== undefined; request = requests[next++]) {
        await this.#send(request.path, request.body);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, worker));
    return performance.now() - startedAt;
  }

  async requestCounts(): Promise<RequestCounts> {
    return parseRequestCounts(await this.request('GET', '/metrics'));
  }

  /** Objects as they change, from now on; `path` names a collection. Ends when `signal` fires. */
  async watch(path: string, signal: AbortSignal): Promise<AsyncIterable<WatchedObject>> {
    const list = JSON.parse(await this.request('GET', `${path}?limit=1`)) as { metadata: { resourceVersion: string } };
    const query = `watch=true&resourceVersion=${list.metadata.resourceVersion}`;
    const stream = this.#open().request(this.#head('GET', `${path}?${query}`));
    signal.addEventListener('abort', () => stream.close(http2.constants.NGHTTP2_CANCEL), { once: true });
    return readEvents(stream);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#session.destroyed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#session.once('close', resolve);
    this.#session.destroy();
    await promise;
  }

  /** The server closes a connection that was idle for 90 s. */
  #open(): ClientHttp2Session {
    if (this.#session.closed || this.#session.destroyed) this.#session = connect(this.#controlPlane);
    return this.#session;
  }

  async #send(path: string, body: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const stream = this.#open().request({ ...this.#head('PATCH', path), 'content-type': APPLY });
    let status = 0;
    stream.on('response', (headers) => {
      status = headers[':status'] ?? 0;
    });
    stream.resume();
    stream.on('error', reject);
    stream.on('end', () => (status < 300 ? resolve() : reject(new Error(`PATCH ${path}: ${status}`))));
    stream.end(body);
    await promise;
  }

  #head(method: string, path: string): Record<string, string> {
    return { ':method': method, ':path': path, authorization: `Bearer ${this.#controlPlane.token}` };
  }
}

function connect({ server, caFile }: ControlPlane): ClientHttp2Session {
  const session = http2.connect(server, { ca: readFileSync(caFile) });
  // Whoever has a request on the connection hears of it by that.
  session.on('error', () => undefined);
  return session;
}

async function* readEvents(stream: Readable): AsyncGenerator<WatchedObject> {
  for await (const line of createInterface({ input: stream })) yield (JSON.parse(line) as { object: WatchedObject }).object;
}
