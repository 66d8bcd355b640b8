import type { OutgoingHttpHeaders } from 'node:http2';
import { sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Impersonation } from './cluster.ts';
import type { Answer, StreamedAnswer } from './http2-exchange.ts';
import type { Http2Request, Http2Transport } from './http2-transport.ts';
import { impersonationHeaders } from './impersonation.ts';
import { KubeError } from './kube-error.ts';
import { errorFromAnswer } from './status-error.ts';
import { TransportError } from './transport-error.ts';

/** What may be sent a second time when it is not known whether the server acted on the first. */
export type Repeat = 'always' | 'if-unprocessed';

/** The answer, and whether an earlier attempt at it may have been acted on without our hearing of it. */
export interface ClientAnswer extends Answer {
  readonly maybeRepeated: boolean;
}

/** A server that asks for more patience than this gets its refusal handed on. */
const LONGEST_RETRY_AFTER_MS = 10_000;

/** Requests whose refusals are `KubeError`s, tried again while that is likely to help. */
export class KubeClient {
  readonly #transport: Http2Transport;
  readonly #retryForMs: number;
  readonly #headers: OutgoingHttpHeaders;

  /** No new attempt at a request is made `retryForMs` after the first failed. `headers` go with every request. */
  constructor(transport: Http2Transport, retryForMs: number, headers: OutgoingHttpHeaders = {}) {
    this.#transport = transport;
    this.#retryForMs = retryForMs;
    this.#headers = headers;
  }

  /** The same client with the rights of another; undefined: with our own. */
  as(identity: Impersonation | undefined): KubeClient {
    return new KubeClient(this.#transport, this.#retryForMs, impersonationHeaders(identity));
  }

  /** Statuses from 200 to 299 only; everything else rejects with a `KubeError`, of code 0 when there was no answer. */
  async request(request: Http2Request, repeat: Repeat, signal: AbortSignal): Promise<ClientAnswer> {
    const backoff = new Backoff({ initialMs: 50, maxMs: 2_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 });
    let firstFailureAt: number | undefined;
    let maybeRepeated = false;
    while (true) {
      const outcome = await this.#attempt(request, signal);
      if (!(outcome instanceof Error)) return { ...outcome, maybeRepeated };
      const unanswered = outcome instanceof TransportError;
      firstFailureAt ??= performance.now();
      const again = unanswered ? repeat === 'always' || !outcome.maybeProcessed : isAskedToRetry(outcome);
      const delayMs = (unanswered ? undefined : outcome.retryAfterMs) ?? backoff.next();
      if (!again || performance.now() - firstFailureAt + delayMs > this.#retryForMs) {
        throw unanswered ? new KubeError(outcome.message, { code: 0, cause: outcome }) : outcome;
      }
      if (unanswered && outcome.maybeProcessed) maybeRepeated = true;
      await sleep(delayMs, signal);
    }
  }

  /** One attempt: a stream's reader knows better from where to start again. */
  async stream(request: Http2Request, signal: AbortSignal): Promise<StreamedAnswer> {
    const answer = await this.#transport.stream({ ...request, headers: this.#headers }, signal);
    if (isSuccess(answer.status)) return answer;
    const chunks: Buffer[] = [];
    for await (const chunk of answer.body) chunks.push(chunk);
    throw errorFromAnswer({ ...answer, body: Buffer.concat(chunks) });
  }

  async #attempt(request: Http2Request, signal: AbortSignal): Promise<Answer | TransportError | KubeError> {
    try {
      const answer = await this.#transport.request({ ...request, headers: this.#headers }, signal);
      return isSuccess(answer.status) ? answer : errorFromAnswer(answer);
    } catch (error) {
      if (error instanceof TransportError) return error;
      throw error;
    }
  }
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

/** As in client-go: the server says that it did nothing, and when to come back. */
function isAskedToRetry(error: KubeError): boolean {
  if (error.code === 429) return (error.retryAfterMs ?? 0) <= LONGEST_RETRY_AFTER_MS;
  return error.code >= 500 && error.retryAfterMs !== undefined && error.retryAfterMs <= LONGEST_RETRY_AFTER_MS;
}
