import { PIECE_BYTES, ReceiveQueue, SendCredit, type WindowBudget } from '../../lib/flow-control.ts';
import { pieces } from '../../lib/pieces.ts';
import type { AnswerEnd, AnswerHead, RequestHead, ServeRequest, ServeResponse } from '../../proto/gen/kas/agent/v1/tunnel.ts';

/** To kas and back, of most agents: how far it really is only kas measures, and bodies of requests are seldom large. */
const ROUND_TRIP_MS = 20;

/** Why a request is not answered: what the caller is told. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
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

/** A request that came through a tunnel. Its body is read, its answer is written, or it is refused. */
export class IncomingRequest {
  readonly head: RequestHead;
  /** What the caller sends, as fast as it is read. Throws when the caller goes away. */
  readonly body: ReceiveQueue;
  readonly #send: (message: ServeRequest) => void;
  readonly #credit = new SendCredit();
  readonly #controller = new AbortController();
  #answered = false;

  constructor(head: RequestHead, send: (message: ServeRequest) => void, budget: WindowBudget) {
    this.head = head;
    this.#send = send;
    this.body = new ReceiveQueue({
      budget,
      grant: (value) => send({ message: { $case: 'window', value } }),
      roundTripMs: () => ROUND_TRIP_MS,
    });
  }

  /** Fires when nobody waits for the answer any more. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  answer(head: AnswerHead): void {
    this.#answered = true;
    this.#send({ message: { $case: 'head', value: head } });
  }

  /** Bytes of any number, which are given away. Resolves when more may be written; rejects when nobody reads any more. */
  async writeBytes(bytes: Buffer): Promise<void> {
    for (const piece of pieces(bytes, PIECE_BYTES)) await this.write(piece);
  }

  /** As `writeBytes`, for what goes as one message, of at most 1 MiB. */
  async write(data: Buffer): Promise<void> {
    await this.#credit.take(data);
    this.#send({ message: { $case: 'data', value: data } });
  }

  /** The answer is complete. */
  end(end: Partial<AnswerEnd> = {}): void {
    this.#send({ message: { $case: 'end', value: { trailers: [], grpcStatus: 0, grpcMessage: '', ...end } } });
  }

  /** In place of an answer, or of the rest of it. */
  refuse(refusal: Refusal): void {
    const { status, reason, message } = refusal;
    this.#send({ message: { $case: 'failure', value: { status, reason, message } } });
  }

  /** Whether an answer has begun. */
  get answered(): boolean {
    return this.#answered;
  }

  /** What kas says after the head. Throws when it breaks the protocol. */
  receive({ message }: ServeResponse): void {
    switch (message?.$case) {
      case 'data':
        this.body.push(message.value);
        return;
      case 'end':
        this.body.end();
        return;
      case 'window':
        this.#credit.grant(message.value);
        return;
      default:
        // Of a kind that a newer kas knows.
        return;
    }
  }

  /** The stream has ended. */
  fail(reason: unknown): void {
    this.#controller.abort(reason);
    this.#credit.fail(reason);
    this.body.fail(reason);
  }
}
