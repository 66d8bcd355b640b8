import type { ServerResponse } from 'node:http';
import type { Duplex, Readable, Writable } from 'node:stream';
import { freeBytes } from '../../lib/free-bytes.ts';
import type { RequestHead } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { AgentRequest } from '../tunnel/agent-request.ts';
import { answerHeaders } from './headers.ts';

/** What became of a request, for the audit log. */
export interface Forwarded {
  readonly status: number;
  /** Of the answer. */
  readonly bytes: number;
}

/** Name of this hop, RFC 9110, section 7.6.3. */
const VIA = '1.1 kas';

/**
 * Sends a request through a tunnel and writes the answer as it comes. Rejects before anything was written when there is no
 * answer; an answer that is cut short is cut for the caller too.
 */
export async function forward(
  request: AgentRequest,
  head: RequestHead,
  incoming: Readable,
  response: ServerResponse,
  onHead: (status: number) => void,
): Promise<Forwarded> {
  request.begin(head);
  send(incoming, request);
  const { status, headers } = await request.answer;
  onHead(status);
  response.statusCode = status;
  for (const [name, values] of answerHeaders(headers)) response.setHeader(name, values.length === 1 ? (values[0] ?? '') : values);
  response.setHeader('via', VIA);
  response.flushHeaders();
  let bytes = 0;
  for await (const chunk of request.body) {
    bytes += chunk.length;
    if (!write(response, chunk)) await writable(response);
  }
  response.end();
  return { status, bytes };
}

/**
 * A connection that goes on with another protocol: once the 101 is written bytes go both ways as they are. What the server
 * answers otherwise is written by `answerPlainly`.
 * @param first what came right behind the request's head
 */
export async function forwardUpgrade(
  request: AgentRequest,
  { head, protocol }: { readonly head: RequestHead; readonly protocol: string },
  socket: Duplex,
  first: Buffer,
  answerPlainly: () => ServerResponse,
  onHead: (status: number) => void,
): Promise<Forwarded> {
  request.begin(head);
  const { status, headers } = await request.answer;
  onHead(status);
  const named = answerHeaders(headers);
  let output: Writable = socket;
  if (status === 101) {
    const lines = [...named].flatMap(([name, values]) => values.map((value) => `${name}: ${value}`));
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\nVia: ${VIA}\r\n${lines.join('\r\n')}\r\n\r\n`,
      'latin1',
    );
    if (first.length > 0) await request.writeBytes(first);
    send(socket, request);
  } else {
    const response = answerPlainly();
    response.statusCode = status;
    for (const [name, values] of named) response.setHeader(name, values);
    output = response;
  }
  let bytes = 0;
  for await (const chunk of request.body) {
    bytes += chunk.length;
    if (!write(output, chunk)) await writable(output);
  }
  output.end();
  return { status, bytes };
}

/** Passes on what the caller sends, no faster than the cluster takes it. How it ends shows in the answer. */
function send(source: Readable, request: AgentRequest): void {
  let sent = Promise.resolve();
  source.on('data', (chunk: Buffer) => {
    source.pause();
    // When nobody waits for it any more what still comes is let go, so that the connection can serve another request.
    sent = request.writeBytes(chunk).catch(() => undefined);
    void sent.then(() => source.resume());
  });
  // The last chunk may still wait for its turn.
  source.once('end', () => void sent.then(() => request.end()));
}

/** The bytes lie in the memory of the message that brought them, behind not more than this. */
const MESSAGE_HEAD_BYTES = 12;

/** Writes what came through a tunnel and frees it. Returns whether the stream takes more at once. */
function write(stream: Writable, chunk: Buffer): boolean {
  return stream.write(chunk, (error) => {
    // When writing failed it may go on below.
    if (error === null || error === undefined) freeBytes(chunk, MESSAGE_HEAD_BYTES);
  });
}

/** Resolves when the stream takes more, or is closed. */
async function writable(stream: Writable): Promise<void> {
  if (stream.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.once('drain', resolve);
  stream.once('close', resolve);
  await promise;
  stream.off('drain', resolve);
  stream.off('close', resolve);
}
