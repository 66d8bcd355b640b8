import { createServer as createHttpServer, type Server as HttpServer, type IncomingMessage } from 'node:http';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { type Server, ServerCredentials } from '@grpc/grpc-js';
import { WebSocketServer } from 'ws';
import { listen } from '../../listen.ts';
import type { ListenAddress } from '../../listen-address.ts';
import { OpeningQueue } from './opening-queue.ts';
import { repairHeaders } from './repair-headers.ts';
import { MAX_TUNNEL_MESSAGE_BYTES, TUNNEL_PROTOCOL, tunnelSocket } from './stream.ts';

/** How every HTTP/2 connection begins, RFC 9113, section 3.4. */
const PREFACE_START = 'PRI';
/** From the turn of a connection: for its TLS handshake, and then for all until it is known to carry gRPC. */
const OPENING_TIMEOUT_MS = 20_000;
const GOING_AWAY = 1001;
const PROTOCOL_ERROR = 1002;

export interface TunnelFrontOptions {
  /** For messages: `agent server`. */
  readonly name: string;
  readonly address: ListenAddress;
  /** In PEM; plain text without. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  /** How long a connection may take until it is known to carry gRPC. */
  readonly openingTimeoutMs?: number | undefined;
}

/** One port for gRPC and for gRPC in a WebSocket. TLS clients choose by ALPN; others are told apart by their first bytes. */
export class TunnelFront {
  readonly #options: TunnelFrontOptions;
  readonly #inject: (connection: Duplex) => void;
  readonly #http: HttpServer;
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: MAX_TUNNEL_MESSAGE_BYTES,
    handleProtocols: (offered) => (offered.has(TUNNEL_PROTOCOL) ? TUNNEL_PROTOCOL : false),
  });
  readonly #sockets = new Set<Socket>();
  /** Of connections that have not said yet what they carry. */
  readonly #deadlines = new WeakMap<Duplex, NodeJS.Timeout>();
  readonly #queue: OpeningQueue;
  readonly #listener: NetServer;

  constructor(server: Server, options: TunnelFrontOptions) {
    this.#options = options;
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#inject = (connection) => injector.injectConnection(connection);
    // Its own timeouts count only for connections that it accepts itself.
    this.#http = createHttpServer((_, response) => {
      response
        .writeHead(404, { 'content-type': 'text/plain', connection: 'close' })
        .end('this port speaks gRPC, also through a WebSocket\n');
    });
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#queue = new OpeningQueue(this.#opener());
    this.#listener = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.once('close', () => this.#sockets.delete(socket));
      this.#queue.add(socket);
    });
  }

  /** The address with the port that the system chose. UserError, naming the server, when it cannot be had. */
  async listen(): Promise<ListenAddress> {
    return await listen(this.#listener, this.#options.name, this.#options.address);
  }

  /** Takes no new connections; those there are go on. Resolves when the last of them has ended. */
  async drain(): Promise<void> {
    this.#queue.clear();
    await new Promise<void>((resolve) => this.#listener.close(() => resolve()));
  }

  /** Ends what is left: WebSockets with their closing message, everything else at once. */
  close(): void {
    for (const webSocket of this.#webSockets.clients) webSocket.close(GOING_AWAY, 'Shutting down');
    for (const socket of this.#sockets) socket.destroySoon();
    this.#http.close();
  }

  /** What is done with a connection whose turn it is. */
  #opener(): (socket: Socket) => void {
    const { tls, openingTimeoutMs: handshakeTimeout = OPENING_TIMEOUT_MS } = this.#options;
    if (tls === undefined) return (socket) => this.#accept(socket);
    const protocols = { ALPNProtocols: ['h2', 'http/1.1'], minVersion: 'TLSv1.2' } as const;
    // Its handshakes and their timeout; it listens nowhere.
    const server = createTlsServer({ ...tls, ...protocols, handshakeTimeout }, (socket) => this.#acceptTls(socket));
    // A client that cannot speak TLS, or does not trust the certificate, is its own affair.
    server.on('tlsClientError', () => undefined);
    return (socket) => void server.emit('connection', socket);
  }

  #acceptTls(socket: TLSSocket): void {
    socket.on('error', () => socket.destroy());
    if (socket.alpnProtocol === 'h2') this.#inject(socket);
    else this.#accept(socket);
  }

  #accept(socket: Socket): void {
    // Not by silence: a client that sends a byte now and then would stay for ever.
    const deadline = setTimeout(() => socket.destroy(), this.#options.openingTimeoutMs ?? OPENING_TIMEOUT_MS);
    this.#deadlines.set(socket, deadline);
    socket.once('close', () => clearTimeout(deadline));
    socket.once('readable', () => {
      const first = socket.read() as Buffer | null;
      if (first === null) return;
      socket.unshift(first);
      const start = first.toString('latin1', 0, PREFACE_START.length);
      if (PREFACE_START.startsWith(start)) {
        clearTimeout(deadline);
        this.#inject(socket);
      } else this.#http.emit('connection', socket);
    });
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    clearTimeout(this.#deadlines.get(socket));
    const offered = request.headers['sec-websocket-protocol'] ?? '';
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('error', () => webSocket.terminate());
      if (webSocket.protocol === TUNNEL_PROTOCOL)
        tunnelSocket(webSocket, repairHeaders()).then(this.#inject, () => webSocket.terminate());
      else webSocket.close(PROTOCOL_ERROR, `expected the subprotocol "${TUNNEL_PROTOCOL}", got "${offered.slice(0, 40)}"`);
    });
  }
}
