import { readFile } from 'node:fs/promises';
import {
  Channel,
  type ChannelCredentials,
  type ChannelOptions,
  compressionAlgorithms,
  credentials,
  Metadata,
} from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';
import { TunnelCredentials } from '../../lib/grpc/tunnel/credentials.ts';
import { CLIENT_WINDOW } from '../../lib/grpc/windows.ts';
import { VERSION } from '../../lib/version.ts';
import { type Environment, proxyFromEnvironment } from '../kube/proxy-environment.ts';

export interface KasAddress {
  /** `grpc://host:port`, `grpcs://host:port` for TLS; `ws://host/path`, `wss://host/path` for gRPC in a WebSocket. */
  readonly url: string;
  readonly tokenFile: string;
  /** PEM file with the authorities to trust instead of the system's. */
  readonly caCertFile: string | undefined;
}

/** One connection to kas, for any number of clients: `new XClient(target, credentials, options)`. */
export interface KasChannel extends Disposable {
  readonly target: string;
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions & { readonly channelOverride: Channel };
  /** Carries the agent's token. */
  readonly metadata: Metadata;
}

export interface ChannelSettings {
  /** Has the proxies. */
  readonly env?: Environment;
  /** A kas in Go answers compressed if it is asked so. */
  readonly gzip?: boolean;
  /** Between pings; 25 s when absent. */
  readonly keepaliveMs?: number;
}

const USER_AGENT = `agentk/${VERSION}`;

// A dead path (a NAT that forgot us) is noticed within 35 s. An old kas (Go) closes connections that ping more often than every 20 s.
const KEEPALIVE_MS = 25_000;
const KEEPALIVE = {
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
};

/** Enough for a call to begin with. */
const RETRY_BUFFER_BYTES = 16 << 10;

/** Opens a connection. Token and CA are read anew each time, so that rotated files are used at the next connect. */
export async function openKasChannel(
  address: KasAddress,
  { env = process.env, gzip = false, keepaliveMs = KEEPALIVE_MS }: ChannelSettings = {},
): Promise<KasChannel> {
  const kas = parseKasUrl(address.url);
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${await readToken(address.tokenFile)}`);
  const { target, options } = route(kas, env);
  const channelCredentials = await credentialsFor(kas, address.caCertFile);
  const channel = new Channel(target, channelCredentials, {
    ...CLIENT_WINDOW,
    ...KEEPALIVE,
    'grpc.keepalive_time_ms': keepaliveMs,
    ...options,
    ...(gzip ? { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip } : {}),
    'grpc.primary_user_agent': USER_AGENT,
    // The session's own loop decides when to try again.
    'grpc.enable_retries': 0,
    // grpc-js keeps so much of each call for a retry all the same, and says that it was sent: 1 MiB by default.
    'grpc.per_rpc_retry_buffer_size': RETRY_BUFFER_BYTES,
    // Every connection has its own HTTP/2 session: a reconnect must not join one that is about to die.
    'grpc.use_local_subchannel_pool': 1,
  });
  return {
    target,
    credentials: channelCredentials,
    options: { channelOverride: channel },
    metadata,
    [Symbol.dispose]: () => channel.close(),
  };
}

/** Where the TCP connection goes: to kas, or to the proxy that the environment names for it. */
function route({ authority, tls, webSocket }: KasTarget, env: Environment): { target: string; options: ChannelOptions } {
  // grpc-js would look at some of these variables, in its own way.
  const direct = { 'grpc.enable_http_proxy': 0 };
  // gRPC is always an affair of HTTPS_PROXY, as in Go; a plain WebSocket begins as a plain HTTP request.
  const isPlainHttp = webSocket !== undefined && !tls;
  const proxy = proxyFromEnvironment(new URL(`${isPlainHttp ? 'http' : 'https'}://${authority}`), env);
  if (proxy === undefined) return { target: `dns:${authority}`, options: direct };
  if (proxy.protocol !== 'http:')
    throw new UserError('the connection to kas goes through proxies of http:// only; set the proxy to such a URL', {
      reason: 'UnsupportedProxy',
    });
  const creds = [proxy.username, proxy.password].map(decodeURIComponent).join(':');
  return {
    target: `dns:${proxy.hostname}:${proxy.port === '' ? '80' : proxy.port}`,
    options: {
      ...direct,
      'grpc.http_connect_target': `dns:${authority}`,
      'grpc.default_authority': authority,
      ...(creds === ':' ? {} : { 'grpc.http_connect_creds': creds }),
    },
  };
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

async function credentialsFor({ tls, webSocket }: KasTarget, caCertFile: string | undefined): Promise<ChannelCredentials> {
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
