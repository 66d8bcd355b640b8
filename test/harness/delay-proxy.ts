import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface DelayProxyOptions {
  readonly host?: string;
  readonly port: number;
  /** Time a byte and its answer spend on the way; half of it each way. 0 when absent. */
  readonly roundTripMs?: number;
}

/** What may be on the way in one direction of one connection; 50 ms at 200 MB/s are 10 MB. */
const IN_FLIGHT_BYTES = 16 << 20;

/**
 * A stretch of network between two real programs: forwards TCP connections to one target, byte for byte and in order,
 * later by half the round trip, without a limit of bandwidth.
 */
export class DelayProxy implements AsyncDisposable {
  readonly #target: DelayProxyOptions;
  readonly #pairs = new Set<Pair>();
  readonly #server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  #paused = false;

  private constructor(target: DelayProxyOptions) {
    this.#target = target;
  }

  static async listen(target: DelayProxyOptions): Promise<DelayProxy> {
    const proxy = new DelayProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Resets every connection; new ones are taken at once. */
  cut(): void {
    for (const pair of this.#pairs) pair.reset();
  }

  /** Lets nothing through, as a network that swallows packets: connections stay, and new ones get no answer. */
  pause(): void {
    this.#paused = true;
  }

  /** Delivers what was held back and goes on. */
  resume(): void {
    this.#paused = false;
    for (const pair of this.#pairs) pair.wake();
  }

  async close(): Promise<void> {
    this.cut();
    if (!this.#server.listening) return;
    this.#server.close();
    await once(this.#server, 'close');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(client: Socket): void {
    const { host = '127.0.0.1', port, roundTripMs = 0 } = this.#target;
    const target = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const isPaused = (): boolean => this.#paused;
    const lanes = [new Lane(client, target, roundTripMs / 2, isPaused), new Lane(target, client, roundTripMs / 2, isPaused)];
    const pair: Pair = {
      wake: () => {
        for (const lane of lanes) lane.deliver();
      },
      reset: () => {
        if (!this.#pairs.delete(pair)) return;
        for (const lane of lanes) lane.stop();
        for (const socket of [client, target]) reset(socket);
      },
    };
    this.#pairs.add(pair);
    let open = 2;
    for (const socket of [client, target]) {
      socket.on('error', () => pair.reset());
      socket.once('close', () => {
        open -= 1;
        // Both ended properly; otherwise `reset` has already run.
        if (open === 0) pair.reset();
      });
    }
  }
}

/**
 * Closes a socket by a reset, as long as that can be: libuv refuses to reset one that is being shut down, and Node then
 * leaves its handle open for ever, busy with an end that nobody reads.
 */
function reset(socket: Socket): void {
  if (socket.connecting || socket.writableEnded || socket.writableLength > 0) socket.destroy();
  else socket.resetAndDestroy();
}

interface Pair {
  wake(): void;
  reset(): void;
}

interface Parcel {
  /** Undefined for the end of the stream. */
  readonly chunk: Buffer | undefined;
  readonly dueAt: number;
}

/** One direction of one connection. */
class Lane {
  readonly #source: Socket;
  readonly #target: Socket;
  readonly #delayMs: number;
  readonly #isPaused: () => boolean;
  readonly #parcels: Parcel[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #targetIsFull = false;

  constructor(source: Socket, target: Socket, delayMs: number, isPaused: () => boolean) {
    this.#source = source;
    this.#target = target;
    this.#delayMs = delayMs;
    this.#isPaused = isPaused;
    source.on('data', (chunk: Buffer) => this.#take(chunk));
    source.once('end', () => this.#take(undefined));
    target.on('drain', () => {
      this.#targetIsFull = false;
      this.deliver();
    });
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#parcels.length = 0;
  }

  /** Hands over what is due and sets the timer for the rest. */
  deliver(): void {
    clearTimeout(this.#timer);
    while (!this.#isPaused() && !this.#targetIsFull) {
      const next = this.#parcels[0];
      if (next === undefined) return;
      const waitMs = next.dueAt - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.deliver(), Math.ceil(waitMs));
        return;
      }
      this.#parcels.shift();
      this.#hand(next.chunk);
    }
  }

  #take(chunk: Buffer | undefined): void {
    this.#parcels.push({ chunk, dueAt: performance.now() + this.#delayMs });
    this.#bytes += chunk?.length ?? 0;
    if (this.#bytes > IN_FLIGHT_BYTES) this.#source.pause();
    if (this.#parcels.length === 1) this.deliver();
  }

  #hand(chunk: Buffer | undefined): void {
    if (chunk === undefined) {
      this.#target.end();
      return;
    }
    this.#targetIsFull = !this.#target.write(chunk);
    this.#bytes -= chunk.length;
    if (this.#bytes <= IN_FLIGHT_BYTES && this.#source.isPaused()) this.#source.resume();
  }
}
