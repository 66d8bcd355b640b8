import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request as requestHttp, type ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createLogger } from '../../../lib/log.ts';
import { createRepository } from '../create-repository.ts';
import { HttpServer } from '../http-server.ts';
import { createPushToken, PushTokens } from '../push-tokens.ts';
import { Storages } from '../storages.ts';

/** Instead of git's answer. */
export type Trouble = (request: IncomingMessage, response: ServerResponse) => void;

/** For tests: a Git host. git over HTTPS with basic authentication, served by git itself, and what can go wrong on the way. */
export class RemoteHost implements AsyncDisposable {
  /** PEM. */
  readonly certificate: string;
  /** Password of `shop/web`. */
  readonly token: string;
  /** The bare repository behind `shop/web`. */
  readonly repositoryPath: string;
  trouble: Trouble | undefined;
  /** Paths that were asked for. */
  readonly requests: string[] = [];
  readonly #http: HttpServer;
  readonly #front: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(init: { certificate: string; token: string; repositoryPath: string; http: HttpServer; front: Server }) {
    this.certificate = init.certificate;
    this.token = init.token;
    this.repositoryPath = init.repositoryPath;
    this.#http = init.http;
    this.#front = init.front;
    this.#front.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(folder: string): Promise<RemoteHost> {
    const storage = { name: 'default', path: join(folder, 'remote') };
    const scope = { storage: 'default', relativePath: 'shop/web.git' };
    const never = new AbortController().signal;
    const { path: repositoryPath } = await createRepository({ storage, relativePath: scope.relativePath }, never);
    const tokensFile = join(folder, 'remote-tokens.json');
    const token = await createPushToken(tokensFile, scope, never);
    const http = new HttpServer({
      storages: new Storages([storage]),
      tokens: new PushTokens(tokensFile, []),
      projects: [],
      maxBodyBytes: 1 << 26,
      log: createLogger('remote', 'error'),
    });
    const { port } = await http.listen({ host: '127.0.0.1', port: 0 });
    const { cert, key } = await certificateIn(folder);
    let host: RemoteHost | undefined;
    const front = createServer({ cert, key }, (request, response) => {
      host?.requests.push(request.url ?? '');
      if (host?.trouble !== undefined) host.trouble(request, response);
      else passOn(request, response, port);
    });
    await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
    host = new RemoteHost({ certificate: cert, token, repositoryPath, http, front });
    return host;
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#front.address() as AddressInfo).port}/shop/web.git`;
  }

  /** As an outage: connections break and new ones are refused. */
  async stop(): Promise<void> {
    if (!this.#front.listening) return;
    const closed = new Promise((resolve) => this.#front.close(resolve));
    // Those that still shake hands are no connections of HTTP yet.
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.#http.stop();
  }
}

function passOn(request: IncomingMessage, response: ServerResponse, port: number): void {
  const { method, url, headers } = request;
  const options = { host: '127.0.0.1', port, method, path: url, headers, agent: false };
  const forwarded = requestHttp(options as object, (answer: IncomingMessage) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  forwarded.on('error', () => response.destroy());
  request.pipe(forwarded);
}

/** A certificate that is its own authority. */
async function certificateIn(folder: string): Promise<{ cert: string; key: string }> {
  const [keyFile, certFile] = [join(folder, 'remote.key'), join(folder, 'remote.crt')];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile];
  const subject = ['-subj', '/CN=remote', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await promisify(execFile)('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', ...subject]);
  return { cert: await readFile(certFile, 'utf8'), key: await readFile(keyFile, 'utf8') };
}
