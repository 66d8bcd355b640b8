import { createHash } from 'node:crypto';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import type { UnitBundle } from '../../../agentk/gitops/unit.ts';
import { BundleReceiver } from '../../../agentk/session/bundle-receiver.ts';
import { Backoff } from '../../../lib/backoff.ts';
import { keepalivePeriodMs } from '../../../lib/grpc/keepalive.ts';
import { WINDOW_BYTES } from '../../../lib/grpc/windows.ts';
import { Action, Health, Phase } from '../../../proto/gen/kas/agent/v1/objects.ts';
import { type BundleHeader, ConnectRequest, ConnectResponse } from '../../../proto/gen/kas/agent/v1/session.ts';
import type { Credential, Endpoint } from './protocol.ts';

const PATH = '/kas.agent.v1.Session/Connect';
/** As agentk does. */
const RECONNECT = { initialMs: 200, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };
const PING_PERIOD_MS = 25_000;
const CONNECT_TIMEOUT_MS = 20_000;
const FRAME_HEAD_BYTES = 5;
/** What a small sync takes. */
const APPLY_MS = 1_000;
const META = { version: 'bench', commitId: '', podNamespace: 'gitops-agent', podName: 'agentk-0', kubernetesVersion: 'v1.36.0' };

/** Where an agent says what happened to it. */
export interface AgentEvents {
  readonly endpoint: () => Endpoint;
  readonly localAddress: string;
  readonly failed: (what: string) => void;
  readonly received: (bytes: number, contents: number) => void;
  readonly changed: () => void;
}

/**
 * Bundles that were put together and proved, by the SHA-256 of the frames they came in, which name the base. Agents share a
 * processor with the kas that is measured: each checks every byte it got, and only the first with these bytes parses them.
 */
const proved = new Map<string, UnitBundle>();
const trusted = new Map<string, SecureContext>();
/** The two reports of a sync of a bundle, encoded: those of all agents are alike. */
const reports = new WeakMap<UnitBundle, { readonly begun: Buffer; readonly ended: Buffer }>();

/**
 * The native session as an agent has it, over an HTTP/2 connection of its own, without a cluster: it proves bundles by
 * digest, reports a sync of each, pings, and connects again as agentk does.
 */
export class SimulatedAgent {
  readonly name: string;
  readonly #token: string;
  readonly #events: AgentEvents;
  readonly #backoff = new Backoff(RECONNECT);
  readonly #bundles = new Map<string, UnitBundle>();
  /** When the first bundle of a commit was complete, by its id; and that of each unit, by unit and id. */
  readonly received = new Map<string, number>();
  /** Of the session that is open: when it was welcomed, and when it had everything. */
  welcomedAt = 0;
  settledAt = 0;
  #units: Set<string> | undefined;
  #session: ClientHttp2Session | undefined;
  #stream: ClientHttp2Stream | undefined;
  #pending: Buffer = Buffer.alloc(0);
  /** Of the transfer that goes on. */
  #header: BundleHeader | undefined;
  #frames: Buffer[] = [];

  constructor({ name, token }: Credential, events: AgentEvents) {
    this.name = name;
    this.#token = token;
    this.#events = events;
  }

  connect(): void {
    const { host, port } = this.#events.endpoint();
    const { localAddress } = this.#events;
    const socket = connectTcp({ host, port, localAddress, noDelay: true });
    let failure: string | undefined;
    const failed = (error: NodeJS.ErrnoException): void => {
      failure ??= error.code ?? error.message;
    };
    const deadline = setTimeout(() => socket.destroy(new Error('no connection in time')), CONNECT_TIMEOUT_MS);
    socket.on('error', failed);
    socket.once('close', () => {
      clearTimeout(deadline);
      this.#lost(failure);
    });
    // Most attempts of a storm find nobody: they cost no more than that.
    socket.once('connect', () => this.#greet(socket, deadline, failed));
  }

  #greet(socket: Socket, deadline: NodeJS.Timeout, failed: (error: NodeJS.ErrnoException) => void): void {
    const { host, port, ca } = this.#events.endpoint();
    const session = connect(`${ca === undefined ? 'http' : 'https'}://${host}:${port}`, {
      settings: { initialWindowSize: WINDOW_BYTES, enablePush: false },
      createConnection: () => (ca === undefined ? socket : secured(socket, ca)),
    });
    this.#session = session;
    const pings = setInterval(() => {
      if (!session.destroyed) session.ping(() => undefined);
    }, keepalivePeriodMs(PING_PERIOD_MS));
    session.once('connect', () => clearTimeout(deadline));
    session.on('error', failed);
    session.once('close', () => {
      clearInterval(pings);
      socket.destroy();
    });
    this.#open(session, (what) => failed(new Error(what)));
  }

  #open(session: ClientHttp2Session, failed: (what: string) => void): void {
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: 'POST',
      [constants.HTTP2_HEADER_PATH]: PATH,
      [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${this.#token}`,
    });
    this.#stream = stream;
    this.#pending = Buffer.alloc(0);
    this.#header = undefined;
    this.#frames = [];
    this.#units = undefined;
    const status = (headers: NodeJS.Dict<string | string[] | number>): void => {
      const code = headers['grpc-status'];
      if (code !== undefined && code !== '0') failed(`grpc-status ${String(code)} ${String(headers['grpc-message'] ?? '')}`);
    };
    stream.on('response', status);
    stream.once('trailers', (headers) => {
      status(headers);
      // The call is over then, though this end of the stream is open.
      session.destroy();
    });
    stream.on('data', (data: Buffer) => this.#data(data));
    stream.on('error', (error: NodeJS.ErrnoException) => failed(error.code ?? error.message));
    stream.once('close', () => session.destroy());
    const held = [...this.#bundles.values()].map(({ unit, bundle }) => ({
      name: unit,
      digest: Buffer.from(bundle.digest, 'hex'),
    }));
    this.#send(frameOf({ $case: 'hello', value: { meta: META, held } }));
  }

  #lost(failure: string | undefined): void {
    this.#session = undefined;
    this.#stream = undefined;
    const welcomed = this.welcomedAt > 0;
    this.welcomedAt = 0;
    this.settledAt = 0;
    if (failure !== undefined) this.#events.failed(failure);
    const delay = failure === undefined && welcomed ? Math.random() * RECONNECT.initialMs : this.#backoff.next();
    setTimeout(() => this.connect(), delay);
  }

  #send(frame: Buffer): void {
    if (this.#stream?.writable === true) this.#stream.write(frame);
  }

  #data(data: Buffer): void {
    this.#pending = this.#pending.length === 0 ? data : Buffer.concat([this.#pending, data]);
    while (this.#pending.length >= FRAME_HEAD_BYTES) {
      const end = FRAME_HEAD_BYTES + this.#pending.readUInt32BE(1);
      if (this.#pending.length < end) return;
      const frame = this.#pending.subarray(FRAME_HEAD_BYTES, end);
      this.#pending = this.#pending.subarray(end);
      try {
        this.#receive(ConnectResponse.decode(frame), frame);
      } catch (error) {
        this.#events.failed((error as Error).message);
        this.#session?.destroy();
        return;
      }
    }
  }

  #receive({ message }: ConnectResponse, frame: Buffer): void {
    let contents = 0;
    switch (message?.$case) {
      case 'welcome':
        this.welcomedAt = Date.now();
        this.#backoff.reset();
        break;
      case 'configuration':
        this.#units = new Set(message.value.units.map(({ name }) => name));
        this.#settle();
        break;
      case 'bundleHeader':
        this.#header = message.value;
        this.#frames = [frame];
        if (message.value.digest.equals(message.value.baseDigest)) this.#complete(message.value);
        break;
      case 'bundleChunk':
        contents = message.value.contents.filter(({ last }) => last).length;
        this.#frames.push(frame);
        break;
      case 'bundleTrailer':
        this.#frames.push(frame);
        if (this.#header === undefined) throw new Error('a bundle trailer without a header');
        this.#complete(this.#header);
    }
    this.#events.received(frame.length, contents);
  }

  #complete({ unit, baseDigest }: BundleHeader): void {
    const held = this.#bundles.get(unit);
    if (baseDigest.length > 0 && baseDigest.toString('hex') !== held?.bundle.digest) throw new Error('a base that is not held');
    const frames = this.#frames.splice(0);
    this.#header = undefined;
    const hash = createHash('sha256');
    for (const frame of frames) hash.update(frame);
    const key = hash.digest('base64');
    let bundle = proved.get(key);
    if (bundle === undefined) {
      bundle = prove(frames, held);
      proved.set(key, bundle);
    }
    this.#hold(bundle);
  }

  /** A bundle that was proved. */
  #hold(bundle: UnitBundle): void {
    this.#bundles.set(bundle.unit, bundle);
    const now = Date.now();
    if (!this.received.has(bundle.commitId)) this.received.set(bundle.commitId, now);
    this.received.set(`${bundle.unit} ${bundle.commitId}`, now);
    this.#units?.delete(bundle.unit);
    this.#settle();
    this.#events.changed();
    this.#report(bundle);
  }

  #settle(): void {
    if (this.#units?.size !== 0 || this.settledAt > 0) return;
    this.settledAt = Date.now();
    this.#events.changed();
  }

  /** That a sync has begun, and that it has ended well, as agentk says it. */
  #report(bundle: UnitBundle): void {
    let both = reports.get(bundle);
    if (both === undefined) {
      both = reportsOf(bundle);
      reports.set(bundle, both);
    }
    const { begun, ended } = both;
    this.#send(begun);
    setTimeout(() => this.#send(ended), APPLY_MS * (0.5 + Math.random()));
  }
}

function secured(socket: Socket, ca: string): TLSSocket {
  return connectTls({ secureContext: trusting(ca), ALPNProtocols: ['h2'], servername: 'localhost', socket });
}

/** One for all connections: each of its own would have to parse the certificate again. */
function trusting(ca: string): SecureContext {
  const context = trusted.get(ca) ?? createSecureContext({ ca });
  trusted.set(ca, context);
  return context;
}

/** Puts a bundle together as agentk does; throws when it is not the one that kas meant. */
function prove(frames: readonly Buffer[], held: UnitBundle | undefined): UnitBundle {
  const receiver = new BundleReceiver(() => held);
  let bundle: UnitBundle | undefined;
  for (const frame of frames) {
    // Contents are pieces of the frame, which is a piece of what came over the wire: none of that is to be kept.
    const { message } = ConnectResponse.decode(Buffer.from(frame));
    if (message?.$case === 'bundleHeader') bundle = receiver.header(message.value);
    else if (message?.$case === 'bundleChunk') receiver.chunk(message.value);
    else if (message?.$case === 'bundleTrailer') bundle = receiver.trailer(message.value);
  }
  if (bundle === undefined) throw new Error('a bundle without an end');
  return bundle;
}

function reportsOf({ unit, commitId, bundle }: UnitBundle): { readonly begun: Buffer; readonly ended: Buffer } {
  const startedAt = new Date();
  const finishedAt = new Date(startedAt.getTime() + APPLY_MS);
  const head = { unit, commitId, bundleDigest: Buffer.from(bundle.digest, 'hex'), message: '', startedAt, last: true };
  const result = {
    action: Action.ACTION_CONFIGURED,
    reason: '',
    message: '',
    health: Health.HEALTH_CURRENT,
    healthMessage: '',
  };
  const objects = bundle.objects.map(({ id, source }) => ({ id, source, ...result }));
  const running = { phase: Phase.PHASE_PROGRESSING, reason: 'Applying', finishedAt: undefined, objects: [] };
  const done = { phase: Phase.PHASE_SYNCED, reason: '', finishedAt, objects };
  return {
    begun: frameOf({ $case: 'syncReport', value: { ...head, ...running } }),
    ended: frameOf({ $case: 'syncReport', value: { ...head, ...done } }),
  };
}

function frameOf(message: NonNullable<ConnectRequest['message']>): Buffer {
  const body = ConnectRequest.encode({ message }).finish();
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}
