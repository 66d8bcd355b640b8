import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { aborted } from '../../lib/abort.ts';
import { toError, UserError } from '../../lib/errors.ts';
import { verifyJwt } from '../../lib/jwt.ts';
import { listen } from '../../lib/listen.ts';
import type { ListenAddress } from '../../lib/listen-address.ts';
import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import { CableConnection } from './cable-connection.ts';
import { CABLE_PROTOCOL } from './cable-messages.ts';
import type { LiveChangeLog } from './live-change-log.ts';

/** `aud` of a page's token: one for the API port does not open this, and the other way round. */
export const CABLE_AUDIENCE = 'gitlab-kas-cable';

export const CABLE_PATH = '/cable';

export interface CableServerOptions {
  readonly address: ListenAddress;
  /** Files in PEM; plain text without. */
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  /** That of the API port: RoR signs pages' tokens with it. */
  readonly secret: Uint8Array;
  readonly changes: LiveChangeLog;
  readonly log: Logger;
}

const HANDSHAKE_TIMEOUT_MS = 10_000;
/** For consumers that were told to go. */
const FAREWELL_MS = 500;

/** Commands of a consumer are short. */
const MAX_COMMAND_BYTES = 64 << 10;

/**
 * `/cable`, where the JavaScript consumer of Rails' ActionCable connects: `createConsumer('wss://kas.example.com/cable?token=…')`. The
 * token is a JWT of the API's secret, audience `gitlab-kas-cable`, whose claim `agent_ids` lists the agents that the page may hear of.
 */
export class CableServer implements Part {
  readonly name = 'cable server';
  readonly #options: CableServerOptions;
  readonly #bound = Promise.withResolvers<ListenAddress>();
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_COMMAND_BYTES,
    handleProtocols: (offered) => (offered.has(CABLE_PROTOCOL) ? CABLE_PROTOCOL : false),
  });

  constructor(options: CableServerOptions) {
    this.#options = options;
    this.#bound.promise.catch(() => undefined);
  }

  /** Where it listens, with the port that the system chose. */
  get address(): Promise<ListenAddress> {
    return this.#bound.promise;
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    const server = await this.#create();
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      this.#upgrade(request, socket, head, signal).catch((error: unknown) => {
        this.#options.log.error('A consumer of live changes failed', { err: toError(error) });
        socket.destroy();
      });
    });
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
    try {
      this.#bound.resolve(await listen(server, this.name, this.#options.address));
    } catch (error) {
      this.#bound.reject(error);
      throw error;
    }
    ready();
    await aborted(signal);
    const { promise, resolve } = Promise.withResolvers<void>();
    server.close(() => resolve());
    server.closeAllConnections();
    // Those that were upgraded were told; whoever does not answer is cut, and who still shakes hands.
    const cut = setTimeout(() => sockets.forEach((socket) => socket.destroy()), FAREWELL_MS);
    await promise;
    clearTimeout(cut);
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, signal: AbortSignal): Promise<void> {
    const url = URL.parse(request.url ?? '/', 'http://kas');
    if (url?.pathname !== CABLE_PATH) return refuse(socket, 404);
    const agents = await this.#agentsOf(url.searchParams.get('token') ?? '');
    if (agents === undefined) return refuse(socket, 401);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#sockets.handleUpgrade(request, socket, head, (client) => {
      const { changes, log } = this.#options;
      const connection = new CableConnection(client, { changes, mayHear: (agentId) => agents.has(agentId), log });
      resolve(connection.run(signal));
    });
    socket.once('close', () => resolve());
    await promise;
  }

  /** Undefined for a token that is not good. */
  async #agentsOf(token: string): Promise<ReadonlySet<number> | undefined> {
    try {
      const { claims } = await verifyJwt(token, this.#options.secret, { audience: CABLE_AUDIENCE });
      const ids = claims['agent_ids'];
      return Array.isArray(ids) ? new Set(ids.filter((id) => typeof id === 'number')) : undefined;
    } catch {
      return undefined;
    }
  }

  async #create(): Promise<Server> {
    const { tls } = this.#options;
    const answer = (_request: IncomingMessage, response: { writeHead(status: number): { end(): void } }): void =>
      response.writeHead(426).end();
    if (tls === undefined) return createServer(answer);
    const [cert, key] = await Promise.all([readFile(tls.certificateFile), readFile(tls.keyFile)]).catch((error: unknown) => {
      throw new UserError(`${this.name}: cannot use its certificate or key: ${toError(error).message}`, { cause: error });
    });
    return createTlsServer({ cert, key, handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, answer);
  }
}

function refuse(socket: Duplex, status: number): void {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
