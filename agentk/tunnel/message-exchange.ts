import { abortable } from '../../lib/abort.ts';
import { UserError } from '../../lib/errors.ts';
import { PIECE_BYTES } from '../../lib/flow-control.ts';
import { MessageQueue } from '../../lib/message-queue.ts';
import { pieces } from '../../lib/pieces.ts';
import type { ClusterRequest, SendRequest, SendResponse } from '../../proto/gen/kas/agent/v1/cluster_requests.ts';
import type { AnswerHead } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { HttpExchange } from './http-exchange.ts';

interface Outgoing {
  readonly message: SendResponse['message'];
  /** The caller takes more. */
  readonly taken: () => void;
}

/** A request and its answer as messages of a call. */
export class MessageExchange implements HttpExchange {
  readonly body: AsyncIterable<Buffer>;
  readonly signal: AbortSignal;
  readonly #requests: AsyncIterator<unknown>;
  readonly #answer = new MessageQueue<Outgoing>();
  #next: Promise<IteratorResult<unknown>> | undefined;
  #readers = 0;
  #length: number | undefined;
  #fault: UserError | undefined;
  #answered = false;

  constructor(requests: AsyncIterable<unknown>, signal: AbortSignal) {
    this.#requests = requests[Symbol.asyncIterator]();
    this.signal = signal;
    this.body = { [Symbol.asyncIterator]: () => this.#read() };
  }

  /** The first message. Throws a `UserError` when it is another one. */
  async head(): Promise<ClusterRequest> {
    const { done, value } = await this.#requests.next();
    const message = done === true ? undefined : (value as SendRequest).message;
    if (message?.$case !== 'head') throw new UserError('the first message must be the head of a request');
    this.#length = lengthOf(message.value);
    return message.value;
  }

  /** What is wrong with the body: it shows in the answer only as a broken connection. */
  get fault(): UserError | undefined {
    return this.#fault;
  }

  get answered(): boolean {
    return this.#answered;
  }

  answer(head: AnswerHead): void {
    this.#answered = true;
    void this.#push({ $case: 'head', value: head });
  }

  async writeBytes(bytes: Buffer): Promise<void> {
    for (const value of pieces(bytes, PIECE_BYTES)) await abortable(this.#push({ $case: 'data', value }), this.signal);
  }

  end(): void {
    void this.#push({ $case: 'end', value: {} });
  }

  /** No more is written. With an error the answer is cut short. */
  close(error?: Error): void {
    if (error === undefined) this.#answer.end();
    else this.#answer.fail(error);
  }

  /** What is written, each when the one before was taken. */
  async *responses(): AsyncGenerator<SendResponse, void, void> {
    for await (const { message, taken } of this.#answer) {
      yield { message };
      taken();
    }
  }

  async #push(message: SendResponse['message']): Promise<void> {
    const { promise, resolve: taken } = Promise.withResolvers<void>();
    this.#answer.push({ message, taken });
    await promise;
  }

  /** A server's connection may turn out to be stale before anything came: then another reader takes the place of the first. */
  async *#read(): AsyncGenerator<Buffer, void, void> {
    this.#readers += 1;
    const reader = this.#readers;
    for (let left = this.#length; ; ) {
      this.#next ??= this.#requests.next();
      const { done, value } = await this.#next;
      if (reader !== this.#readers) return;
      this.#next = undefined;
      const data = done === true ? undefined : this.#data(value as SendRequest);
      // Bytes beyond what the server was told would be the next request to it.
      if (left !== undefined) left -= data?.length ?? 0;
      if (left !== undefined && (left < 0 || (data === undefined && left > 0)))
        throw this.#wrong('the body is not as long as content-length says');
      if (data === undefined) return;
      yield data;
    }
  }

  #data({ message }: SendRequest): Buffer {
    if (message?.$case !== 'data') throw this.#wrong('only data may follow the head');
    return message.value;
  }

  #wrong(message: string): UserError {
    this.#fault = new UserError(message);
    return this.#fault;
  }
}

function lengthOf({ http }: ClusterRequest): number | undefined {
  const values = (http?.headers ?? []).flatMap(({ name, value }) => (name.toLowerCase() === 'content-length' ? [value] : []));
  const [first] = values;
  if (first === undefined) return undefined;
  if (values.length > 1 || !/^\d{1,15}$/.test(first)) throw new UserError('content-length must be one number');
  return Number(first);
}
