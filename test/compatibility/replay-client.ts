import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { waitUntil } from '../harness/wait-until.ts';
import { METHODS } from './probe.ts';
import { type Call, CallReader } from './wire/calls.ts';
import { endsStream, FRAME, type Frame, FrameReader, isAck, preface, settingsAck } from './wire/frames.ts';
import type { Entry } from './wire/transcript.ts';
import { clientMessage, WebSocketReader } from './wire/web-socket.ts';

export interface ReplayOptions {
  readonly address: string;
  /** Of one connection. */
  readonly entries: readonly Entry[];
  readonly webSocket?: boolean;
  /** What was done beside the connection is done again. */
  readonly onNote?: (note: string) => Promise<void>;
}

/** What was recorded and what is said now, call by call. */
export interface Replayed {
  readonly recorded: CallReader;
  readonly now: CallReader;
  /** The head of the answer to the WebSocket's request. */
  readonly webSocketAnswer: string | undefined;
}

/**
 * Says to a server what a client said when it was recorded, byte by byte, in step with the answers: a frame goes out when
 * the server has come as far in each call as it had then. Only acknowledgements and room for more data are not (only) taken from
 * the recording, since they answer what the server sends now.
 */
export async function replayClient({ address, entries, webSocket = false, onNote }: ReplayOptions): Promise<Replayed> {
  const [host = '', port = ''] = address.split(/:(?=\d+$)/);
  const socket = connect({ host, port: Number(port), noDelay: true });
  await once(socket, 'connect');
  const live = new LiveConnection(socket, webSocket);
  const recorded = new CallReader();
  const frames = { client: new FrameReader(true), server: new FrameReader(false) };
  const sockets = { client: new WebSocketReader(), server: new WebSocketReader() };
  try {
    for (const entry of entries) {
      if ('note' in entry) {
        await onNote?.(entry.note);
        continue;
      }
      const { from, data } = entry;
      const pieces = webSocket ? sockets[from].push(data) : [data];
      if (from === 'client' && live.head === undefined && sockets.client.head !== undefined) {
        socket.write(sockets.client.head);
        await live.answered();
      }
      for (const frame of pieces.flatMap((piece) => frames[from].push(piece))) {
        recorded.frame(from, frame);
        if (from === 'server') await live.reached(recorded, frame.streamId, endsStream(frame));
        else if (!isAck(frame)) live.frame(frame);
      }
    }
    return { recorded, now: live.calls, webSocketAnswer: live.head };
  } finally {
    socket.destroy();
  }
}

class LiveConnection {
  readonly calls = new CallReader();
  readonly #socket: Socket;
  readonly #webSocket: boolean;
  readonly #reader = new FrameReader(false);
  readonly #messages = new WebSocketReader();
  readonly #answers: Buffer[] = [];
  #opened = false;
  #failure: Error | undefined;
  #closed = false;

  constructor(socket: Socket, webSocket: boolean) {
    this.#socket = socket;
    this.#webSocket = webSocket;
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.#closed = true;
    });
    socket.on('data', (data: Buffer) => {
      try {
        this.#receive(data);
      } catch (error) {
        this.#failure = error as Error;
      }
    });
  }

  get head(): string | undefined {
    return this.#messages.head;
  }

  /** A frame of the recording. The client's preface and settings come first, whatever the server has sent already. */
  frame(frame: Frame): void {
    this.calls.frame('client', frame);
    if (!this.#opened) this.send(preface);
    this.send(frame.bytes);
    this.#opened = true;
    for (const answer of this.#answers.splice(0)) this.send(answer);
  }

  send(bytes: Buffer): void {
    this.#socket.write(this.#webSocket ? clientMessage(bytes) : bytes);
  }

  async answered(): Promise<void> {
    await this.#until(() => this.#messages.head !== undefined, 'an answer to the WebSocket request');
  }

  /** Waits until a call is as far as it was in the recording: as many messages where it goes on, its end where it ended. */
  async reached(recorded: CallReader, streamId: number, ended: boolean): Promise<void> {
    const then = recorded.call(streamId);
    if (then === undefined) return;
    if (ended)
      await this.#until(() => this.calls.call(streamId)?.ended === true, `the end of ${pathOf(then)} (stream ${streamId})`);
    else if (then.responses.length > 0) {
      const { length } = pathOf(then) === METHODS.configuration ? then.responses : [1];
      const come = (): boolean => {
        const now = this.calls.call(streamId);
        return now?.ended === true || (now?.responses.length ?? 0) >= length;
      };
      await this.#until(come, `a message of ${pathOf(then)}`);
    }
  }

  #receive(data: Buffer): void {
    const pieces = this.#webSocket ? this.#messages.push(data) : [data];
    for (const frame of pieces.flatMap((piece) => this.#reader.push(piece))) {
      this.calls.frame('server', frame);
      if (frame.type === FRAME.settings && !isAck(frame)) this.#answer(settingsAck);
      if (frame.type === FRAME.ping && !isAck(frame)) this.#answer(pong(frame.bytes));
      if (frame.type === FRAME.data && frame.payload.length > 0) {
        this.#answer(windowUpdate(0, frame.payload.length));
        this.#answer(windowUpdate(frame.streamId, frame.payload.length));
      }
    }
  }

  #answer(bytes: Buffer): void {
    if (this.#opened) this.send(bytes);
    else this.#answers.push(bytes);
  }

  async #until(condition: () => boolean, what: string): Promise<void> {
    await waitUntil(
      () => {
        if (this.#failure !== undefined) throw this.#failure;
        return condition() || this.#closed;
      },
      { what, timeoutMs: 40_000, intervalMs: 5 },
    );
    if (!condition()) throw new Error(`the server closed the connection before ${what}`);
  }
}

function windowUpdate(streamId: number, bytes: number): Buffer {
  const frame = Buffer.from([0, 0, 4, FRAME.windowUpdate, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  frame.writeUInt32BE(streamId, 5);
  frame.writeUInt32BE(bytes, 9);
  return frame;
}

export const pathOf = ({ requestHeaders }: Call): string => requestHeaders[':path'] ?? '';

function pong(ping: Buffer): Buffer {
  const answer = Buffer.from(ping);
  answer[4] = 1;
  return answer;
}
