import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { endsStream, FRAME, type Frame, FrameReader, isAck } from './wire/frames.ts';
import { type Entry, ofConnection, type Transcript } from './wire/transcript.ts';

/**
 * Says to a client what a server said when it was recorded, byte by byte: each connection gets what the one in its place
 * got, and every frame when the client has begun and ended as many requests as it had then. Answers to pings are left out, since the
 * client pings by the clock.
 */
export class ReplayServer implements AsyncDisposable {
  readonly #server = createServer({ noDelay: true });
  readonly #sockets = new Set<Socket>();
  /** Connections that came; those beyond the recording are closed at once. */
  connections = 0;

  private constructor(transcript: Transcript) {
    this.#server.on('connection', (socket) => {
      this.connections += 1;
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.once('close', () => this.#sockets.delete(socket));
      play(socket, ofConnection(transcript, this.connections));
    });
  }

  static async listen(transcript: Transcript): Promise<ReplayServer> {
    const server = new ReplayServer(transcript);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }
}

interface Step {
  /** How far the client was, see `progressOf`. */
  readonly progress: number;
  readonly frame: Frame;
}

function play(socket: Socket, entries: readonly Entry[]): void {
  const steps = stepsOf(entries);
  if (steps.length === 0) socket.destroy();
  const reader = new FrameReader(true);
  let progress = 0;
  socket.on('data', (data: Buffer) => {
    for (const frame of reader.push(data)) progress += progressOf(frame);
    while (steps[0] !== undefined && steps[0].progress <= progress) socket.write(steps.shift()?.frame.bytes as Buffer);
  });
}

/** A client gets on when a request begins and when it is complete. */
function progressOf(frame: Frame): number {
  return (frame.type === FRAME.headers ? 1 : 0) + (frame.type !== FRAME.resetStream && endsStream(frame) ? 1 : 0);
}

function stepsOf(entries: readonly Entry[]): Step[] {
  const frames = { client: new FrameReader(true), server: new FrameReader(false) };
  const steps: Step[] = [];
  let progress = 0;
  for (const entry of entries) {
    if ('note' in entry) continue;
    for (const frame of frames[entry.from].push(entry.data)) {
      if (entry.from === 'client') progress += progressOf(frame);
      else if (frame.type !== FRAME.ping || !isAck(frame)) steps.push({ progress, frame });
    }
  }
  return steps;
}
