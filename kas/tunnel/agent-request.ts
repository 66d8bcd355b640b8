import { UnavailableError } from '../../lib/errors.ts';
import { PIECE_BYTES, ReceiveQueue, SendCredit, type WindowBudget } from '../../lib/flow-control.ts';
import { pieces } from '../../lib/pieces.ts';
import type { AnswerEnd, AnswerHead, RequestHead, ServeRequest, ServeResponse } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { RoundTrip } from './round-trip.ts';

/** The agent could not have the request answered, and says why. */
export class AgentRefusal extends Error {
  override readonly name = 'AgentRefusal';
  /** Of HTTP. */
  readonly status: number;
  /** A Kubernetes StatusReason. */
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** One end of a stream that carries messages of one request. */
export interface TunnelWire {
  /** Does not wait: what is sent is bounded by what the other side granted. */
  send(message: ServeResponse): void;
  /** Ends the stream; the other side gives the request up, if it is not done. */
  close(): void;
}

/** For an agent that has the request to say so: its process may be gone without a word. */
const ACCEPT_TIMEOUT_MS = 10_000;

/**
 * One request to an agent over a tunnel of its own: `begin`, then data and `end` on the way there, `answer`, `body` and
 * `trailers` on the way back. Whoever has it closes it, whatever happens.
 */
export class AgentRequest implements Disposable {
  readonly #wire: TunnelWire;
  readonly #credit = new SendCredit();
  readonly #answer = Promise.withResolvers<AnswerHead>();
  readonly #trailers = Promise.withResolvers<AnswerEnd>();
  readonly #timer: NodeJS.Timeout;
  readonly #roundTrip: RoundTrip;
  #begunAt = 0;
  #closed = false;
  #done = false;
  /** What the agent answers with, as fast as it is read. Throws when the answer is cut short. */
  readonly body: ReceiveQueue;

  constructor(wire: TunnelWire, budget: WindowBudget, roundTrip: RoundTrip) {
    this.#roundTrip = roundTrip;
    this.#wire = wire;
    this.body = new ReceiveQueue({
      budget,
      grant: (bytes) => this.#send({ $case: 'window', value: bytes }),
      roundTripMs: () => roundTrip.ms,
    });
    for (const { promise } of [this.#answer, this.#trailers]) promise.catch(() => undefined);
    this.#timer = setTimeout(
      () => this.fail(new UnavailableError('the agent did not react; its connection seems to be dead')),
      ACCEPT_TIMEOUT_MS,
    );
  }

  begin(head: RequestHead): void {
    this.#begunAt = performance.now();
    this.#send({ $case: 'head', value: head });
  }

  /** Bytes of any number, which are given away. Resolves when more may be sent; rejects when the request has ended. */
  async writeBytes(bytes: Buffer): Promise<void> {
    for (const piece of pieces(bytes, PIECE_BYTES)) await this.write(piece);
  }

  /** As `writeBytes`, for what goes as one message, of at most 1 MiB. */
  async write(data: Buffer): Promise<void> {
    await this.#credit.take(data);
    this.#send({ $case: 'data', value: data });
  }

  /** The request is complete. */
  end(): void {
    this.#send({ $case: 'end', value: {} });
  }

  /** Rejects with AgentRefusal, or UnavailableError when the agent is gone. */
  get answer(): Promise<AnswerHead> {
    return this.#answer.promise;
  }

  /** After the body. */
  get trailers(): Promise<AnswerEnd> {
    return this.#trailers.promise;
  }

  /** What the agent says. Throws when it breaks the protocol. */
  receive({ message }: ServeRequest): void {
    switch (message?.$case) {
      case 'accepted':
        clearTimeout(this.#timer);
        this.#roundTrip.add(performance.now() - this.#begunAt);
        return;
      case 'head':
        clearTimeout(this.#timer);
        this.#answer.resolve(message.value);
        return;
      case 'data':
        this.body.push(message.value);
        return;
      case 'end':
        this.#done = true;
        this.#trailers.resolve(message.value);
        this.body.end();
        return;
      case 'failure': {
        const { status, reason, message: text } = message.value;
        this.fail(new AgentRefusal(status, reason, text));
        return;
      }
      case 'window':
        this.#credit.grant(message.value);
        return;
      default:
        // Of a kind that a newer agent knows.
        return;
    }
  }

  /** The stream has ended, or the request is given up. */
  fail(error: unknown): void {
    clearTimeout(this.#timer);
    this.#answer.reject(error);
    this.#trailers.reject(error);
    this.#credit.fail(error);
    this.body.fail(error);
  }

  /** Whether the whole answer has arrived. */
  get done(): boolean {
    return this.#done;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.fail(new DOMException('The request was given up', 'AbortError'));
    this.#wire.close();
  }

  #send(message: ServeResponse['message']): void {
    if (!this.#closed) this.#wire.send({ message });
  }
}
