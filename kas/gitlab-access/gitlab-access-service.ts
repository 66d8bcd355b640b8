import { UnavailableError, UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import { pieces } from '../../lib/pieces.ts';
import type { GitlabAccessServer, Request, Request_Headers, Response } from '../../proto/gen/gitlab/agent/gitlab_access/rpc.ts';
import type { AgentAuthenticator } from '../agent-session/session-service.ts';
import type { GitlabClient, ProxiedAnswer } from '../gitlab-api/gitlab-client.ts';
import { fromHeaders, toModuleRequest } from './module-request.ts';

export interface GitlabAccessDeps {
  readonly authenticator: AgentAuthenticator;
  readonly client: GitlabClient;
  /** `<module>` or `<module>/<path>`; what is below is allowed, too. */
  readonly allowedPaths: readonly string[];
}

/** Requests of one agent at the same time: each takes a connection to GitLab for as long as the agent likes. */
const MAX_OPEN = 16;
const RETRY_MS = 1_000;

/** The original's pieces of a body. */
const PIECE_BYTES = 32 << 10;

/** gitlab.agent.gitlab_access.rpc.GitlabAccess (13.8): an agent's HTTP requests to modules of GitLab. */
export function createGitlabAccessService(handlers: Handlers, deps: GitlabAccessDeps): GitlabAccessServer {
  const open = new Map<number, number>();

  function enter(agentId: number): Disposable {
    const others = open.get(agentId) ?? 0;
    if (others >= MAX_OPEN)
      throw new UserError(`the agent has ${MAX_OPEN} requests to GitLab open, and may have no more`, {
        kind: 'exhausted',
        reason: 'TooManyRequests',
        retryAfterMs: RETRY_MS,
      });
    open.set(agentId, others + 1);
    return {
      [Symbol.dispose]: () => {
        const left = (open.get(agentId) ?? 0) - 1;
        if (left > 0) open.set(agentId, left);
        else open.delete(agentId);
      },
    };
  }

  async function* makeRequest(
    requests: AsyncIterable<Request>,
    { metadata, signal }: CallContext,
  ): AsyncGenerator<Response, void, void> {
    const { agent, token } = await deps.authenticator.authenticate(metadata, signal);
    using _turn = enter(agent.id);
    const incoming = new RequestReader(requests[Symbol.asyncIterator]());
    const { path, ...request } = toModuleRequest(await incoming.head(), deps.allowedPaths);
    const first = await incoming.data();
    if (first !== undefined && (request.method === 'GET' || request.method === 'HEAD'))
      throw new UserError(`${request.method} has no body`);
    const body = first === undefined ? undefined : incoming.body(first);
    const proxied = { ...request, path: `/modules/${path}`, body, agentToken: token };
    try {
      yield* responses(await deps.client.proxy(proxied, signal), signal);
    } catch (error) {
      // What is wrong with the request came up while it was sent, and shows as a broken connection only.
      throw incoming.fault ?? error;
    }
  }
  return { makeRequest: handlers.bidi(makeRequest) };
}

async function* responses({ status, statusText, headers, body }: ProxiedAnswer, signal: AbortSignal): AsyncGenerator<Response> {
  try {
    const head = { statusCode: status, status: `${status} ${statusText}`, headers: fromHeaders(headers) };
    yield { message: { $case: 'headers', value: head } };
    for await (const chunk of wholeOrUnavailable(body, signal)) {
      signal.throwIfAborted();
      for (const data of pieces(chunk, PIECE_BYTES)) yield { message: { $case: 'data', value: { data } } };
    }
    yield { message: { $case: 'trailers', value: {} } };
  } finally {
    body.destroy();
  }
}

async function* wholeOrUnavailable(body: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<Buffer> {
  try {
    yield* body;
  } catch (error) {
    signal.throwIfAborted();
    throw new UnavailableError('GitLab broke off its answer', { cause: error });
  }
}

/** Headers, any number of data, trailers, and then the end: anything else is the agent's mistake. */
class RequestReader {
  readonly #requests: AsyncIterator<Request>;
  #fault: UserError | undefined;

  constructor(requests: AsyncIterator<Request>) {
    this.#requests = requests;
  }

  get fault(): UserError | undefined {
    return this.#fault;
  }

  async head(): Promise<Request_Headers> {
    const message = await this.#next();
    if (message?.$case !== 'headers') throw this.#wrong('headers must come first');
    return message.value;
  }

  /** The next piece of the body; undefined after the last one. */
  async data(): Promise<Buffer | undefined> {
    const message = await this.#next();
    if (message?.$case === 'data') return message.value.data;
    if (message?.$case !== 'trailers') throw this.#wrong('data and then trailers must follow the headers');
    if ((await this.#next()) !== undefined) throw this.#wrong('nothing may follow the trailers');
    return undefined;
  }

  async *body(first: Buffer): AsyncGenerator<Buffer, void, void> {
    for (let piece: Buffer | undefined = first; piece !== undefined; piece = await this.data()) yield piece;
  }

  /** Undefined at the end. */
  async #next(): Promise<Request['message']> {
    const { done, value } = await this.#requests.next();
    if (done === true) return undefined;
    const { message } = value as Request;
    if (message === undefined) throw this.#wrong('a message of an unknown kind');
    return message;
  }

  #wrong(message: string): UserError {
    this.#fault = new UserError(message);
    return this.#fault;
  }
}
