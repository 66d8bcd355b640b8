import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { toError } from '../../lib/errors.ts';
import type { TlsMaterial } from './kube-access.ts';
import { TransportError } from './transport-error.ts';

const CONNECT_TIMEOUT_MS = 10_000;

/** HTTP/1.1 is for what HTTP/2 cannot do: upgrades. */
export type HttpVersion = 'h2' | 'http/1.1';

/**
 * A TLS connection to an API server, through the proxy if there is one.
 * Rejects with a `TransportError` that names the address.
 */
export async function connectTls(
  server: URL,
  proxy: URL | undefined,
  material: TlsMaterial,
  version: HttpVersion,
  signal: AbortSignal,
): Promise<tls.TLSSocket> {
  signal.throwIfAborted();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_TIMEOUT_MS)]);
  let socket: net.Socket | undefined;
  try {
    socket = proxy === undefined ? await dial(server, limit) : await dialThrough(proxy, server, limit);
    return await secure(socket, server, material, version, limit);
  } catch (error) {
    socket?.destroy();
    signal.throwIfAborted();
    const cause = limit.aborted ? `no answer within ${CONNECT_TIMEOUT_MS / 1000} s` : toError(error).message;
    throw new TransportError(`Cannot connect to ${server.host}: ${cause}`, {
      maybeProcessed: false,
      untrusted: socket !== undefined && !limit.aborted,
      cause: error,
    });
  }
}

async function dial(server: URL, signal: AbortSignal): Promise<net.Socket> {
  const socket = net.connect({ host: hostOf(server), port: portOf(server), noDelay: true, keepAlive: true });
  await settled(socket, 'connect', signal);
  return socket;
}

async function dialThrough(proxy: URL, server: URL, signal: AbortSignal): Promise<net.Socket> {
  const target = `${server.hostname}:${portOf(server)}`;
  const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const request = (proxy.protocol === 'https:' ? https : http).request({
    host: hostOf(proxy),
    port: portOf(proxy),
    method: 'CONNECT',
    path: target,
    agent: false,
    headers: {
      host: target,
      ...(proxy.username === '' ? {} : { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }),
    },
    signal,
  });
  const { promise, resolve, reject } = Promise.withResolvers<net.Socket>();
  request.on('error', (error) => reject(new Error(`the proxy ${proxy.host} failed: ${error.message}`, { cause: error })));
  request.on('connect', (response, socket: net.Socket) => {
    if (response.statusCode === 200) return resolve(socket);
    socket.destroy();
    reject(new Error(`the proxy ${proxy.host} answered ${response.statusCode} ${response.statusMessage}`));
  });
  request.on('response', (response) => {
    response.destroy();
    reject(new Error(`the proxy ${proxy.host} answered ${response.statusCode} ${response.statusMessage}`));
  });
  request.end();
  const socket = await promise;
  socket.setNoDelay(true);
  socket.setKeepAlive(true);
  return socket;
}

async function secure(
  socket: net.Socket,
  server: URL,
  material: TlsMaterial,
  version: HttpVersion,
  signal: AbortSignal,
): Promise<tls.TLSSocket> {
  const host = hostOf(server);
  // Server names that TLS asks for are never addresses; those are verified by `host` alone.
  const servername = material.servername ?? (net.isIP(host) === 0 ? host : undefined);
  // What breaks the inner socket breaks the TLS one, which reports it; unheard here it would end the process.
  socket.on('error', () => undefined);
  const secured = tls.connect({
    ...material,
    socket,
    host,
    ...(servername === undefined ? {} : { servername }),
    ALPNProtocols: version === 'h2' ? ['h2', 'http/1.1'] : ['http/1.1'],
  });
  try {
    await settled(secured, 'secureConnect', signal);
  } catch (error) {
    secured.destroy();
    throw error;
  }
  secured.on('error', () => undefined);
  if (version === 'http/1.1' || secured.alpnProtocol === 'h2') return secured;
  const offered = secured.alpnProtocol === false ? 'no HTTP/2' : `${secured.alpnProtocol} only`;
  secured.destroy();
  throw new Error(`it offers ${offered}; agentk needs HTTP/2, so a proxy before the API server must pass it through`);
}

async function settled(socket: net.Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onClose = (): void => reject(new Error('the connection was closed'));
  const onAbort = (): void => {
    reject(signal.reason);
    socket.destroy();
  };
  socket.once(event, resolve);
  socket.once('error', reject);
  socket.once('close', onClose);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.off('error', reject);
    socket.off('close', onClose);
  }
}

function hostOf(url: URL): string {
  return url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
}

function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
}
