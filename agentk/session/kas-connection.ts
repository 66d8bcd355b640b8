import { readFile } from 'node:fs/promises';
import { type ChannelCredentials, credentials, Metadata } from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';
import { type BidiCall, callBidi } from '../../lib/grpc/call.ts';
import { TunnelCredentials } from '../../lib/grpc/tunnel/credentials.ts';
import { CLIENT_WINDOW } from '../../lib/grpc/windows.ts';
import { VERSION } from '../../lib/version.ts';
import { type ConnectRequest, type ConnectResponse, SessionClient } from '../../proto/gen/kas/agent/v1/session.ts';

export interface KasAddress {
  /** `grpc://host:port`, `grpcs://host:port` for TLS; `ws://host/path`, `wss://host/path` for gRPC in a WebSocket. */
  readonly url: string;
  readonly tokenFile: string;
  /** PEM file with the authorities to trust instead of the system's. */
  readonly caCertFile: string | undefined;
}

/** One connection to kas with its session stream. Dispose it when the stream has ended. */
export interface KasConnection extends Disposable {
  readonly session: BidiCall<ConnectRequest, ConnectResponse>;
}

const USER_AGENT = `agentk/${VERSION}`;

// A dead path (a NAT that forgot us) is noticed within 35 s. An old kas (Go) closes connections that ping more often than every 20 s.
const KEEPALIVE = {
  'grpc.keepalive_time_ms': 25_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
};

/** Opens the session stream. Token and CA are read anew each time, so that rotated files are used at the next connect. */
export async function connectToKas(address: KasAddress, signal: AbortSignal): Promise<KasConnection> {
  const target = parseKasUrl(address.url);
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${await readToken(address.tokenFile)}`);
  const client = new SessionClient(target.authority, await channelCredentials(target, address.caCertFile), {
    ...CLIENT_WINDOW,
    ...KEEPALIVE,
    'grpc.primary_user_agent': USER_AGENT,
    // The session's own loop decides when to try again.
    'grpc.enable_retries': 0,
    // Every connection has its own HTTP/2 session: a reconnect must not join one that is about to die.
    'grpc.use_local_subchannel_pool': 1,
  });
  try {
    const session = callBidi<ConnectRequest, ConnectResponse>(
      (callMetadata, options) => client.connect(callMetadata, options),
      { metadata },
      signal,
    );
    return { session, [Symbol.dispose]: () => client.close() };
  } catch (error) {
    client.close();
    throw error;
  }
}

export interface KasTarget {
  /** Host and port. */
  readonly authority: string;
  readonly tls: boolean;
  /** Of the WebSocket that gRPC runs in; undefined where it runs by itself. */
  readonly webSocket: URL | undefined;
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { ws: 80, wss: 443 };

/** What `grpc`, `grpcs`, `ws` and `wss` URLs lead to; UserError for others. */
export function parseKasUrl(url: string): KasTarget {
  const match = /^(grpcs?|wss?):\/\/([^/?#@]+)(\/[^?#]*)?$/.exec(url);
  const [, scheme = '', authority = '', path = '/'] = match ?? [];
  const isTunnel = scheme.startsWith('ws');
  if (match === null || (!isTunnel && path !== '/') || !URL.canParse(url)) {
    throw new UserError(
      `unsupported address of kas: "${url}"; use grpc://host:port or grpcs://host:port (TLS), or ws://host/path or wss://host/path (TLS)`,
      { reason: 'InvalidAddress' },
    );
  }
  const tls = scheme.endsWith('s') && scheme !== 'ws';
  if (!isTunnel) return { authority, tls, webSocket: undefined };
  const port = /:\d+$/.test(authority) ? '' : `:${DEFAULT_PORTS[scheme]}`;
  return { authority: authority + port, tls, webSocket: new URL(url) };
}

async function channelCredentials({ tls, webSocket }: KasTarget, caCertFile: string | undefined): Promise<ChannelCredentials> {
  const ca = tls && caCertFile !== undefined ? await readUserFile(caCertFile, 'CA certificate') : undefined;
  if (webSocket !== undefined) return new TunnelCredentials({ url: webSocket, ca, userAgent: USER_AGENT });
  return tls ? credentials.createSsl(ca ?? null) : credentials.createInsecure();
}

async function readToken(file: string): Promise<string> {
  const token = (await readUserFile(file, 'agent token')).toString('utf8').trim();
  if (token === '') throw new UserError(`the agent token file ${file} is empty`, { reason: 'InvalidToken' });
  return token;
}

async function readUserFile(file: string, what: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new UserError(`cannot read the ${what} file: ${(error as Error).message}`, { reason: 'UnreadableFile', cause: error });
  }
}
