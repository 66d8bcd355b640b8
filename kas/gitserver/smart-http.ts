import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Readable, Transform, type Writable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { AbortScope, abortable } from '../../lib/abort.ts';
import { GitFailure, startGit } from './git-process.ts';
import { HttpRefusal } from './http-refusal.ts';
import { advertiseRefs, type GitService, protocolEnvironment } from './refs-advertisement.ts';
import type { RepositoryPath } from './storages.ts';

const NO_CACHE = {
  Expires: 'Fri, 01 Jan 1980 00:00:00 GMT',
  Pragma: 'no-cache',
  'Cache-Control': 'no-cache, max-age=0, must-revalidate',
};

export interface RefsExchange {
  readonly repository: RepositoryPath;
  readonly service: GitService;
}

export interface RpcExchange extends RefsExchange {
  readonly maxBodyBytes: number;
  /** Called before the body is read. */
  readonly proceed: () => void;
  /** Called when the process ended with a failure. */
  readonly onFailure: (error: GitFailure) => void;
}

/** `GET info/refs` */
export async function serveRefs(
  request: IncomingMessage,
  response: ServerResponse,
  { repository, service }: RefsExchange,
  signal: AbortSignal,
): Promise<void> {
  using scope = new AbortScope(signal);
  whenGone(response, (reason) => scope.abort(reason));
  const headers = { ...NO_CACHE, 'Content-Type': `application/x-git-${service}-advertisement` };
  const refs = advertiseRefs(service, repository, { protocol: protocolOf(request) }, scope.signal);
  await answer(response, headers, refs, scope.signal);
}

/** `POST git-upload-pack` and `POST git-receive-pack`: the body is what the process reads, the answer what it writes. */
export async function serveRpc(
  request: IncomingMessage,
  response: ServerResponse,
  { repository, service, maxBodyBytes, proceed, onFailure }: RpcExchange,
  signal: AbortSignal,
): Promise<void> {
  checkRequest(request, service, maxBodyBytes);
  const controller = new AbortController();
  // A push that has arrived whole is carried out even if nobody waits for the answer, or the server is about to stop.
  const end = (reason: unknown): void => {
    if (service === 'upload-pack' || !request.complete) controller.abort(reason);
  };
  const onStopping = (): void => end(signal.reason);
  signal.addEventListener('abort', onStopping, { once: true });
  whenGone(response, end);
  try {
    const options = { cwd: repository.path, env: protocolEnvironment(protocolOf(request)) };
    const { child, ended } = startGit([service, '--stateless-rpc', '.'], options, controller.signal);
    proceed();
    // A body that fails must end the process before its input ends: it would take that for the end of the body.
    void feed(child.stdin, bodyOf(request, maxBodyBytes)).catch((error: unknown) => controller.abort(error));
    const headers = { ...NO_CACHE, 'Content-Type': `application/x-git-${service}-result` };
    await answer(response, headers, outputOf(child.stdout, ended, onFailure, controller.signal), controller.signal);
  } finally {
    signal.removeEventListener('abort', onStopping);
    controller.abort(new DOMException('The exchange has ended', 'AbortError'));
    // What git left unread must not block the connection.
    request.resume();
  }
}

/**
 * Ends when the process did. Its failure ends the answer like a success, as git's http-backend has it: git tells the
 * client in the answer itself, and some exchanges of shallow clones end with a failure that means nothing.
 */
async function* outputOf(
  stdout: Readable,
  ended: Promise<void>,
  onFailure: (error: GitFailure) => void,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  for await (const chunk of stdout as AsyncIterable<Buffer>) yield chunk;
  signal.throwIfAborted();
  try {
    await ended;
  } catch (error) {
    if (!(error instanceof GitFailure)) throw error;
    onFailure(error);
  }
}

/** Calls `leave` once nobody is there to answer, which may be so already: the checks before took their time. */
function whenGone(response: ServerResponse, leave: (reason: unknown) => void): void {
  const gone = (): void => leave(new DOMException('The client went away', 'AbortError'));
  if (response.closed || response.socket === null || response.socket.destroyed) gone();
  else response.once('close', gone);
}

/** Writes the head together with the first of the content, so that what fails before can still be answered as a failure. */
async function answer(
  response: ServerResponse,
  headers: Readonly<Record<string, string>>,
  content: AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<void> {
  for await (const chunk of content) {
    if (!response.headersSent) response.writeHead(200, headers);
    // Nobody reads a closed response, but a push is carried out to its end.
    if (!response.write(chunk)) await abortable(takesMore(response), signal);
    signal.throwIfAborted();
  }
  if (!response.headersSent) response.writeHead(200, headers);
  response.end();
}

/** Writes the body to git, as fast as it reads. What git does not want to read any more is no failure; its exit status tells. */
async function feed(stdin: Writable, body: Readable): Promise<void> {
  for await (const chunk of body as AsyncIterable<Buffer>) {
    if (stdin.destroyed || stdin.errored !== null) return;
    if (!stdin.write(chunk)) await takesMore(stdin);
  }
  stdin.end();
}

/** Resolves when the stream takes more, or was closed and takes nothing any more. */
async function takesMore(stream: Writable): Promise<void> {
  if (stream.closed || stream.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.once('drain', resolve).once('close', resolve);
  await promise;
  stream.off('drain', resolve).off('close', resolve);
}

function checkRequest(request: IncomingMessage, service: GitService, maxBodyBytes: number): void {
  const type = `application/x-git-${service}-request`;
  if (request.headers['content-type'] !== type) throw new HttpRefusal(415, `the content type must be ${type}`);
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (!['identity', 'gzip', 'x-gzip'].includes(encoding))
    throw new HttpRefusal(415, `the content encoding ${encoding} is not known`);
  if (Number(request.headers['content-length'] ?? 0) > maxBodyBytes) throw tooLarge(maxBodyBytes);
}

/** The request's body, inflated. Fails with HttpRefusal 413 when it is larger than `maxBytes`, packed or not. */
function bodyOf(request: IncomingMessage, maxBytes: number): Readable {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  const limited = request.pipe(limit(maxBytes));
  const forward = (from: Readable, to: Readable): void => void from.once('error', (error) => to.destroy(error));
  request.on('error', () => undefined);
  request.once('close', () => {
    if (!request.complete) limited.destroy(new DOMException('The client went away', 'AbortError'));
  });
  if (encoding === 'identity') return limited;
  const inflated = limited.pipe(createGunzip());
  const result = inflated.pipe(limit(maxBytes));
  forward(limited, inflated);
  inflated.once('error', (error) =>
    result.destroy(error instanceof HttpRefusal ? error : new HttpRefusal(400, 'the gzip stream is broken')),
  );
  return result;
}

function limit(maxBytes: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length;
      if (bytes > maxBytes) done(tooLarge(maxBytes));
      else done(null, chunk);
    },
  });
}

function tooLarge(maxBytes: number): HttpRefusal {
  return new HttpRefusal(413, `the request has more than ${maxBytes} bytes`);
}

function protocolOf(request: IncomingMessage): string {
  return request.headers['git-protocol']?.toString() ?? '';
}
