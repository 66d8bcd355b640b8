import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import {
  createServer as createHttpServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';

export interface RorRequest {
  readonly method: string;
  /** From the root of the host, query included. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Instead of what is right: an answer, or none at all. */
export type Trouble =
  | 'silence'
  | 'reset'
  | { readonly status: number; readonly body?: string; readonly headers?: Record<string, string> };

export interface RorFixtureOptions {
  /** PEM; plain text without. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Path of a GitLab below its host: `/gitlab`. */
  readonly root?: string;
}

/**
 * For tests: a server that answers as GitLab's internal API for kas does (lib/api/internal/kubernetes.rb), over real
 * sockets. It checks what kas signs by its own means. Agents and projects are what the test puts into the maps.
 */
export class RorFixture implements AsyncDisposable {
  readonly secret = randomBytes(32);
  readonly requests: RorRequest[] = [];
  /** Bodies that were taken, with 204. */
  readonly taken: Record<string, unknown>[] = [];
  /** Answers of agent_info, by token. */
  readonly agents = new Map<string, Record<string, unknown>>();
  /** Answers of project_info, by what they are asked for by. */
  readonly projects = new Map<string, Record<string, unknown>>();
  /** Answers of job/allowed_agents, by job token. */
  readonly jobs = new Map<string, Record<string, unknown>>();
  /** Answers of authorize_proxy_user, by `<agent id>:<access key>`. */
  readonly users = new Map<string, Record<string, unknown>>();
  /** What GitLab says of a token that it does not know: 403 in 2021, 401 since. */
  unknownToken = 401;
  trouble: Trouble | undefined;
  /** Agents whose configuration is refused. */
  readonly refusedAgents = new Set<number>();
  /** Answers what is below /modules. */
  onModule: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => response.writeHead(404).end();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #root: string;
  readonly #secure: boolean;

  private constructor({ tls, root = '' }: RorFixtureOptions) {
    this.#root = root;
    this.#secure = tls !== undefined;
    const listener = (request: IncomingMessage, response: ServerResponse): void => void this.#handle(request, response);
    this.#server = tls === undefined ? createHttpServer(listener) : createHttpsServer(tls, listener);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(options: RorFixtureOptions = {}): Promise<RorFixture> {
    const fixture = new RorFixture(options);
    await fixture.listen(0);
    return fixture;
  }

  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', () => resolve());
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): URL {
    return new URL(`${this.#secure ? 'https' : 'http'}://127.0.0.1:${this.port}${this.#root}`);
  }

  /** How often a path below the API was asked for. */
  count(path: string): number {
    return this.requests.filter(({ url }) => url.startsWith(`${this.#root}/api/v4/internal/kubernetes${path}`)).length;
  }

  /** As an outage: connections break and new ones are refused. The port, for `listen`. */
  async stop(): Promise<number> {
    const { port } = this;
    await this[Symbol.asyncDispose]();
    return port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    // Those that still shake hands are no connections of HTTP yet.
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request;
    const { pathname, searchParams } = new URL(url, 'http://host');
    const prefix = `${this.#root}/api/v4/internal/kubernetes`;
    const path = pathname.startsWith(prefix) ? pathname.slice(prefix.length) : undefined;
    if (path?.startsWith('/modules/') === true) {
      this.requests.push({ method, url, headers, body: '' });
      if (this.#signed(headers)) this.onModule(request, response);
      else response.writeHead(401).end();
      return;
    }
    const body = await textOf(request);
    this.requests.push({ method, url, headers, body });
    if (this.trouble !== undefined) return disturb(this.trouble, response);
    if (pathname === `${this.#root}/api/v4/job/allowed_agents`) {
      const job = this.jobs.get(String(headers['job-token']));
      return job === undefined ? json(response, 401, { message: '401 Unauthorized' }) : json(response, 200, job);
    }
    if (path === undefined) return void response.writeHead(404, { 'content-type': 'text/html' }).end('<html>');
    if (!this.#signed(headers)) return json(response, 401, { message: '401 Unauthorized' });
    if (method === 'POST') return this.#post(path, body, response);
    this.#get(path, searchParams, headers, response);
  }

  #get(path: string, query: URLSearchParams, headers: IncomingHttpHeaders, response: ServerResponse): void {
    const token = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? '';
    const agent = this.agents.get(token);
    if (agent === undefined) return json(response, this.unknownToken, { message: 'refused' });
    if (path === '/agent_info') return json(response, 200, agent);
    const project = path === '/project_info' ? this.projects.get(query.get('id') ?? '') : undefined;
    if (project === undefined) return json(response, 404, { message: '404 Not Found' });
    json(response, 200, project);
  }

  #post(path: string, body: string, response: ServerResponse): void {
    const value = JSON.parse(body) as Record<string, unknown>;
    if (path === '/authorize_proxy_user') {
      const user = this.users.get(`${String(value['agent_id'])}:${String(value['access_key'])}`);
      return user === undefined ? json(response, 404, { message: '404 Not Found' }) : json(response, 200, user);
    }
    if (path === '/usage_metrics' && Number(value['gitops_sync_count'] ?? 0) < 0) return void response.writeHead(400).end();
    if (path !== '/usage_metrics' && path !== '/agent_configuration') return void response.writeHead(404).end();
    if (path === '/agent_configuration' && this.refusedAgents.has(Number(value['agent_id'])))
      return json(response, 422, { message: 'refused' });
    this.taken.push(value);
    response.writeHead(204).end();
  }

  /** HS256, issuer gitlab-kas, audience gitlab, valid now. */
  #signed(headers: IncomingHttpHeaders): boolean {
    const [head = '', payload = '', signature = ''] = String(headers['gitlab-kas-api-request'] ?? '').split('.');
    const expected = createHmac('sha256', this.secret).update(`${head}.${payload}`).digest();
    const given = Buffer.from(signature, 'base64url');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return false;
    const { alg } = JSON.parse(String(Buffer.from(head, 'base64url'))) as { alg: string };
    const { iss, aud, nbf, exp } = JSON.parse(String(Buffer.from(payload, 'base64url'))) as Record<string, unknown>;
    const now = Date.now() / 1000;
    return alg === 'HS256' && iss === 'gitlab-kas' && [aud].flat().includes('gitlab') && Number(nbf) <= now && now < Number(exp);
  }
}

function disturb(trouble: Trouble, response: ServerResponse): void {
  if (trouble === 'silence') return;
  if (trouble === 'reset') return void response.socket?.destroy();
  response.writeHead(trouble.status, trouble.headers).end(trouble.body);
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** As GitLab tells where a repository is, with more than kas knows. */
export function repositoryAnswer(projectId: number, path: string, gitaly: { address: string; token?: string }) {
  return {
    project_id: projectId,
    gitaly_info: { token: '', ...gitaly, features: { 'gitaly-feature-go-find-license': 'true' }, later: 1 },
    gitaly_repository: {
      storage_name: 'default',
      relative_path: `${path}.git`,
      git_object_directory: '',
      git_alternate_object_directories: [],
      gl_repository: `project-${projectId}`,
      gl_project_path: path,
    },
    default_branch: 'main',
    later: { unknown: true },
  };
}
