import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { isAbort, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { CallerKind, type HttpRequest, type RequestHead } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { AgentRequest } from '../tunnel/agent-request.ts';
import type { Grant, ProxyAccess } from './access.ts';
import { AccessWatch } from './access-watch.ts';
import { Audit } from './audit.ts';
import { type Credential, parseCredential } from './credential.ts';
import { type Forwarded, forward, forwardUpgrade } from './forward.ts';
import { requestHeaders } from './headers.ts';
import { type KubernetesStatus, statusBody } from './kubernetes-status.ts';

export interface KubernetesProxyDeps {
  readonly access: ProxyAccess;
  readonly agents: {
    /** A request to the agent. Rejects with UnavailableError when the agent cannot be reached. */
    open(agentId: number, signal: AbortSignal): Promise<AgentRequest>;
  };
  /** Precedes the path of every request; `/` or `/…/`. */
  readonly urlPathPrefix: string;
  /** After so long, again and again, a request that runs is asked about once more. */
  readonly accessTtlMs: number;
  readonly log: Logger;
}

type Exchange = (agent: AgentRequest, head: RequestHead) => Promise<Forwarded>;

interface Serving {
  readonly request: IncomingMessage;
  /** What the connection shall go on with; empty for nothing else. */
  readonly upgrade: string;
  readonly audit: Audit;
  readonly exchange: Exchange;
  /** Lets a caller that has an answer see that no more of it comes, also one that reads nothing. */
  readonly cut: () => void;
}

/** Answers requests to the API servers of clusters, which it reaches through the tunnels of their agents. */
export class KubernetesProxy {
  readonly #deps: KubernetesProxyDeps;
  readonly #accessWatch: AccessWatch;

  constructor(deps: KubernetesProxyDeps) {
    this.#deps = deps;
    this.#accessWatch = new AccessWatch({ access: deps.access, periodMs: deps.accessTtlMs });
  }

  /** Requests that still run are not asked about any more. */
  close(): void {
    this.#accessWatch.close();
  }

  /** Never rejects. */
  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort(new DOMException('The caller went away', 'AbortError')));
    response.on('error', () => undefined);
    const audit = new Audit(this.#deps.log, request, false);
    try {
      const exchange: Exchange = (agent, head) => forward(agent, head, request, response, (status) => audit.answered(status));
      const done = await this.#serve({ request, upgrade: '', audit, exchange, cut: () => cutAnswer(response) }, gone.signal);
      audit.end(done.bytes);
    } catch (error) {
      const status = audit.failed(error, gone.signal);
      if (response.headersSent) response.destroy(isAbort(error, gone.signal) ? undefined : new Error('the answer was cut short'));
      else writeStatus(response, status);
    }
  }

  /** A request that wants its connection to go on with another protocol. Never rejects. */
  async upgrade(request: IncomingMessage, socket: Duplex, first: Buffer): Promise<void> {
    const gone = new AbortController();
    socket.once('close', () => gone.abort(new DOMException('The caller went away', 'AbortError')));
    socket.on('error', () => socket.destroy());
    const audit = new Audit(this.#deps.log, request, true);
    const protocol = request.headers.upgrade ?? '';
    const plainly = (): ServerResponse => plainResponse(request, socket);
    try {
      const exchange: Exchange = (agent, head) =>
        forwardUpgrade(agent, { head, protocol }, socket, first, plainly, (status) => audit.answered(status));
      const cut = (): void => {
        if (audit.hasAnswer) socket.destroy();
      };
      const done = await this.#serve({ request, upgrade: protocol, audit, exchange, cut }, gone.signal);
      audit.end(done.bytes);
    } catch (error) {
      const status = audit.failed(error, gone.signal);
      if (audit.hasAnswer || gone.signal.aborted) socket.destroy();
      else writeStatus(plainly(), status);
    }
  }

  async #serve({ request, upgrade, audit, exchange, cut }: Serving, signal: AbortSignal): Promise<Forwarded> {
    const path = this.#path(request.url ?? '');
    const credential = parseCredential(request.headers.authorization);
    audit.claims(credential);
    const grant = await this.#deps.access.authorize(credential, signal);
    audit.granted(grant);
    const http: HttpRequest = { method: request.method ?? '', path, headers: requestHeaders(request.headers), upgrade };
    const head = headFor(http, credential, grant);
    using agent = await this.#deps.agents.open(credential.agentId, signal);
    const giveUp = (): void => agent[Symbol.dispose]();
    signal.addEventListener('abort', giveUp, { once: true });
    const onEnd = (error: Error): void => {
      audit.revoked();
      agent.fail(error);
      giveUp();
      cut();
    };
    using watched = this.#accessWatch.watch({ credential, granted: grant, onEnd });
    try {
      signal.throwIfAborted();
      const done = await exchange(agent, head);
      // A reader that stalled may have been cut off from what had arrived.
      if (watched.ended !== undefined) throw watched.ended;
      return done;
    } catch (error) {
      throw watched.ended ?? error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  #path(url: string): string {
    const { urlPathPrefix: prefix } = this.#deps;
    if (url.startsWith(prefix)) return `/${url.slice(prefix.length)}`;
    throw new UserError(`paths here begin with ${prefix}`, { reason: 'BadRequest' });
  }
}

/** Where the request goes: paths that begin so are of HTTP services, all others of the API server, which has none of them. */
const SERVICE_PATH = /^\/-\/services\/([a-z0-9-]{1,63})(\/.*)?$/s;

const CALLERS = { user: CallerKind.CALLER_KIND_USER, job: CallerKind.CALLER_KIND_JOB } as const;

function headFor(http: HttpRequest, { kind }: Credential, grant: Grant): RequestHead {
  const [, service, rest = '/'] = SERVICE_PATH.exec(http.path) ?? [];
  if (service !== undefined) {
    const value = { http: { ...http, path: rest }, service, caller: CALLERS[kind] };
    return { request: { $case: 'httpService', value } };
  }
  refuseNested(http, grant);
  return { request: { $case: 'kubernetes', value: { http, impersonation: grant.impersonation } } };
}

/** Who acts as somebody by the agent's configuration cannot act as somebody else beside. */
function refuseNested({ headers }: HttpRequest, { impersonation }: Grant): void {
  if (impersonation === undefined || !headers.some(({ name }) => name.startsWith('impersonate-'))) return;
  throw new UserError("nested impersonation is not supported: the agent's configuration already says whom requests are made as", {
    reason: 'BadRequest',
  });
}

function cutAnswer(response: ServerResponse): void {
  if (response.headersSent) response.destroy(new Error('the answer was cut short'));
}

/** For an answer in place of an upgrade: what was asked for by a socket is answered by one. */
function plainResponse(request: IncomingMessage, socket: Duplex): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as Parameters<ServerResponse['assignSocket']>[0]);
  response.once('finish', () => socket.end());
  return response;
}

function writeStatus(response: ServerResponse, status: KubernetesStatus): void {
  const body = statusBody(status);
  response.statusCode = status.code;
  response.setHeader('content-type', 'application/json');
  response.setHeader('content-length', Buffer.byteLength(body));
  // By which callers know that it was not the cluster that refused them.
  if (status.code === 401) response.setHeader('gitlab-unauthorized', 'true');
  response.end(body);
}
