import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { toError } from '../../lib/errors.ts';
import { connectTls } from '../kube/connect.ts';
import type { TlsMaterial } from '../kube/kube-access.ts';
import { TransportError } from '../kube/transport-error.ts';
import type { HttpExchange } from './http-exchange.ts';
import { answerHeaders } from './http-messages.ts';
import { writable } from './writable.ts';

export interface UpgradeTarget {
  readonly server: URL;
  readonly proxy: URL | undefined;
  readonly tls: TlsMaterial;
  readonly method: string;
  readonly path: string;
  /** `host` among them. */
  readonly headers: OutgoingHttpHeaders;
  /** What the connection goes on with, such as `websocket`. */
  readonly protocol: string;
}

/**
 * A request that turns its connection into one of another protocol, over HTTP/1.1. After the 101 bytes go both ways as they
 * are; an answer of another status is an answer like any. Rejects with TransportError when there is none.
 */
export async function upgradeRequest(target: UpgradeTarget, request: HttpExchange): Promise<void> {
  const { server, proxy, tls, method, path, headers, protocol } = target;
  const connection = await connectTls(server, proxy, tls, 'http/1.1', request.signal);
  await exchangeUpgrade(connection, { method, path, headers, protocol }, request);
}

/** As `upgradeRequest`, over a connection that is there. */
export async function exchangeUpgrade(
  connection: Socket,
  { method, path, headers, protocol }: Pick<UpgradeTarget, 'method' | 'path' | 'headers' | 'protocol'>,
  request: HttpExchange,
): Promise<void> {
  const cut = (): void => void connection.destroy();
  request.signal.addEventListener('abort', cut, { once: true });
  try {
    const { answer, socket, first } = await send(connection, method, path, {
      ...headers,
      connection: 'Upgrade',
      upgrade: protocol,
    });
    request.answer({ status: answer.statusCode ?? 0, headers: answerHeaders(answer.headers) });
    if (socket === undefined) await writeAll(answer, request);
    else await tunnel(socket, first, request);
    request.end();
  } catch (error) {
    request.signal.throwIfAborted();
    if (error instanceof TransportError) throw error;
    throw new TransportError(`The connection was lost: ${toError(error).message}`, { maybeProcessed: true, cause: error });
  } finally {
    request.signal.removeEventListener('abort', cut);
    connection.destroy();
  }
}

interface Upgraded {
  readonly answer: IncomingMessage;
  /** Undefined where the server kept to HTTP. */
  readonly socket: Duplex | undefined;
  /** What came right behind the head. */
  readonly first: Buffer;
}

async function send(connection: Socket, method: string, path: string, headers: OutgoingHttpHeaders): Promise<Upgraded> {
  const { promise, resolve, reject } = Promise.withResolvers<Upgraded>();
  const outgoing = httpRequest({ method, path, headers, createConnection: () => connection });
  outgoing.once('upgrade', (answer, socket, first) => resolve({ answer, socket, first }));
  outgoing.once('response', (answer) => resolve({ answer, socket: undefined, first: Buffer.alloc(0) }));
  outgoing.on('error', reject);
  outgoing.end();
  return await promise;
}

async function tunnel(socket: Duplex, first: Buffer, request: HttpExchange): Promise<void> {
  socket.on('error', () => undefined);
  void pump(request, socket);
  if (first.length > 0) await request.writeBytes(first);
  await writeAll(socket, request);
}

async function writeAll(source: AsyncIterable<Buffer>, request: HttpExchange): Promise<void> {
  for await (const chunk of source) await request.writeBytes(chunk);
}

/** How it ends shows in what is read from the socket. */
async function pump(request: HttpExchange, socket: Duplex): Promise<void> {
  try {
    for await (const chunk of request.body) {
      if (socket.destroyed) return;
      if (!socket.write(chunk)) await writable(socket);
    }
    socket.end();
  } catch {
    socket.destroy();
  }
}
