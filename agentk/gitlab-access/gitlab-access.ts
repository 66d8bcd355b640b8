import { AbortScope } from '../../lib/abort.ts';
import { toError, UnavailableError } from '../../lib/errors.ts';
import type { BidiCall } from '../../lib/grpc/call.ts';
import { pieces } from '../../lib/pieces.ts';
import type { Request, Request_Headers, Response, Response_Headers } from '../../proto/gen/gitlab/agent/gitlab_access/rpc.ts';

/** An HTTP request of a module of agentk to GitLab. */
export interface GitlabRequest {
  /** Of GitLab: `cilium_alert`. kas' setting `gitlab.allowed_module_paths` names those that may be asked. */
  readonly module: string;
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** From the module's root, beginning with `/`: letters, digits, `.`, `_`, `~`, `-` and `/`. */
  readonly path: string;
  readonly query?: URLSearchParams;
  /** Content type, encoding, language and preconditions reach GitLab; credentials are kas' own. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent no faster than GitLab takes it. Not for GET and HEAD. */
  readonly body?: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** GitLab's answer, whatever its status. Dispose it: what was not read of the body is given up then. */
export interface GitlabAnswer extends Disposable {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  /** Comes as it is read. Throws UnavailableError when GitLab broke off, the signal's reason. */
  readonly body: AsyncIterable<Buffer>;
}

export type GitlabCall = BidiCall<Request, Response>;

/** Opens a call of `GitlabAccess/MakeRequest` on the connection of a session. */
export type OpenGitlabCall = (signal: AbortSignal) => GitlabCall;

/** A piece of a body: what kas sends of one, too. */
const PIECE_BYTES = 32 << 10;

/**
 * The way of agentk's modules to GitLab: over the agent's connection to kas, which says which paths are allowed and adds who asks.
 * Modules get it where the agent is put together.
 */
export class GitlabAccess {
  #open: OpenGitlabCall | undefined;

  /** Requests go over this connection until `signal` fires; it is not cut below those that are on their way then. */
  attach(open: OpenGitlabCall, signal: AbortSignal): void {
    if (signal.aborted || this.#open === open) return;
    this.#open = open;
    const detach = (): void => {
      if (this.#open === open) this.#open = undefined;
    };
    signal.addEventListener('abort', detach, { once: true });
  }

  /**
   * Resolves with the head of the answer; the request's body may still be on its way. Rejects with UserError `forbidden` for a
   * path that kas does not allow, `invalid` for what is no request, `exhausted` beside too many, `unimplemented` by a kas without
   * GitLab; UnavailableError while there is no session or GitLab does not answer; what the body throws; the signal's reason.
   */
  async request(request: GitlabRequest, signal: AbortSignal): Promise<GitlabAnswer> {
    signal.throwIfAborted();
    if (this.#open === undefined) throw new UnavailableError('agentk has no session with kas');
    const scope = new AbortScope(signal);
    const call = this.#open(scope.signal);
    const sending = new Sending(call, request, (error) => scope.abort(error));
    const messages = call.responses[Symbol.asyncIterator]();
    try {
      const first = await messages.next();
      const message = first.done === true ? undefined : first.value.message;
      if (message?.$case !== 'headers') throw outOfOrder();
      return toAnswer(message.value, bodyOf(messages, sending), scope);
    } catch (error) {
      scope[Symbol.dispose]();
      throw sending.failure ?? error;
    }
  }
}

function toAnswer({ statusCode, headers }: Response_Headers, body: AsyncIterable<Buffer>, scope: AbortScope): GitlabAnswer {
  const named = Object.entries(headers).map(([name, { value }]) => [name.toLowerCase(), value] as const);
  return { status: statusCode, headers: new Map(named), body, [Symbol.dispose]: () => scope[Symbol.dispose]() };
}

async function* bodyOf(messages: AsyncIterator<Response>, sending: Sending): AsyncGenerator<Buffer, void, void> {
  try {
    for (let ended = false; ; ) {
      const { done, value } = await messages.next();
      const message = done === true ? undefined : (value as Response).message;
      if (done === true && ended) return;
      if (message?.$case === 'trailers') ended = true;
      else if (message?.$case === 'data' && !ended) yield message.value.data;
      else throw outOfOrder();
    }
  } catch (error) {
    throw sending.failure ?? error;
  }
}

function outOfOrder(): UnavailableError {
  return new UnavailableError('kas did not pass on a whole answer of GitLab');
}

/** A request on its way to kas. */
class Sending {
  readonly #onFailure: (error: Error) => void;
  /** What the body threw. */
  failure: Error | undefined;

  constructor(call: GitlabCall, request: GitlabRequest, onFailure: (error: Error) => void) {
    this.#onFailure = onFailure;
    // How a call that was ended early has ended shows in its responses.
    void this.#send(call, request).catch(() => undefined);
  }

  async #send(call: GitlabCall, request: GitlabRequest): Promise<void> {
    await call.send({ message: { $case: 'headers', value: headOf(request) } });
    for await (const bytes of this.#read(request.body ?? [])) {
      for (const piece of pieces(bytes, PIECE_BYTES)) {
        await call.send({ message: { $case: 'data', value: { data: Buffer.from(piece) } } });
      }
    }
    await call.send({ message: { $case: 'trailers', value: {} } });
    call.end();
  }

  async *#read(body: NonNullable<GitlabRequest['body']>): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* body;
    } catch (error) {
      this.failure = toError(error);
      this.#onFailure(this.failure);
      throw error;
    }
  }
}

function headOf({ module, method, path, query = new URLSearchParams(), headers = {} }: GitlabRequest): Request_Headers {
  const values = Object.fromEntries([...new Set(query.keys())].map((key) => [key, { value: query.getAll(key) }]));
  const named = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, { value: [value] }]));
  return { moduleName: module, method, urlPath: path, query: values, headers: named };
}
