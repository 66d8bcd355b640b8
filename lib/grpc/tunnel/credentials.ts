import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import { WebSocket } from 'ws';
import { MAX_TUNNEL_MESSAGE_BYTES, TUNNEL_PROTOCOL, tunnelSocket } from './stream.ts';

/** For the TLS handshake and the answer to the upgrade. */
const OPENING_TIMEOUT_MS = 20_000;

export interface TunnelTarget {
  /** `ws://` or `wss://`, with the path that leads to kas. */
  readonly url: URL;
  /** For `wss://`: the authorities to trust, PEM; undefined: those of the system. */
  readonly ca: Buffer | undefined;
  readonly userAgent: string;
}

type Connector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/** Has a channel of grpc-js run inside a WebSocket. grpc-js opens the TCP connection, through a proxy where the environment names one. */
export class TunnelCredentials extends ChannelCredentials {
  readonly #target: TunnelTarget;

  constructor(target: TunnelTarget) {
    super();
    this.#target = target;
  }

  override _isSecure(): boolean {
    return this.#target.url.protocol === 'wss:';
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(_target: unknown, _options: unknown, callCredentials?: CallCredentials): Connector {
    return {
      connect: async (socket) => {
        return { socket: await openTunnel(this.#target, socket), secure: this._isSecure() };
      },
      waitForReady: async () => undefined,
      getCallCredentials: () => callCredentials ?? CallCredentials.createEmpty(),
      destroy: () => undefined,
    };
  }
}

/** Rejects with what went wrong, for people: redirects are not followed, since they may lead the agent's token elsewhere. */
async function openTunnel({ url, ca, userAgent }: TunnelTarget, socket: Socket): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const webSocket = new WebSocket(url, TUNNEL_PROTOCOL, {
    createConnection: () => (url.protocol === 'wss:' ? connectTls({ socket, servername: url.hostname, ca }) : socket),
    perMessageDeflate: false,
    maxPayload: MAX_TUNNEL_MESSAGE_BYTES,
    handshakeTimeout: OPENING_TIMEOUT_MS,
    followRedirects: false,
    headers: { 'user-agent': userAgent },
  });
  webSocket.once('open', () => {
    tunnelSocket(webSocket).then(resolve, reject);
  });
  webSocket.once('unexpected-response', (_, { statusCode, headers: { location } }) => {
    const hint =
      location === undefined ? 'check the path of the address' : `the server says it is at ${location}; use that address`;
    reject(new Error(`${url.href} is no WebSocket of kas (HTTP ${statusCode ?? 'without status'}): ${hint}`));
    webSocket.terminate();
  });
  webSocket.on('error', (error) => reject(error));
  return await promise;
}
