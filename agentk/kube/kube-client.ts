import type { OutgoingHttpHeaders } from 'node:http2';
import { sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { AdaptiveLimit, type Outcome, WRITES_IN_FLIGHT } from './adaptive-limit.ts';
import type { Impersonation } from './cluster.ts';
import type { Answer, StreamedAnswer } from './http2-exchange.ts';
import type { Http2Request, Http2Transport } from './http2-transport.ts';
import { impersonationHeaders } from './impersonation.ts';
import { KubeError } from './kube-error.ts';
import { errorFromAnswer } from './status-error.ts';
import { TransportError } from './transport-error.ts';

/** What may be sent a second time when it is not known whether the server acted on the first. */
export type Repeat = 'always' | 'if-unprocessed';

export interface ClientAnswer extends Answer {
  /** Time since the first attempt, when an earlier one may have been acted on without our hearing of it. */
  readonly repeatedAfterMs: number | undefined;
}

export interface KubeClientParts {
  readonly transport: Http2Transport;
  /** No new attempt at a request is made so long after the first got no answer, or a 5xx with a Retry-After. */
  readonly retryForMs: number;
  /** The same for requests that were refused because there are too many (429). */
  readonly retryRefusedForMs: number;
  /** Throws when nothing may be written any more. */
  readonly permitWrite?: (() => void) | undefined;
}

/** Requests whose refusals are `KubeError`s, tried again while that is likely to help. */
export class KubeClient {
  readonly #parts: KubeClientParts;
  readonly #writes: AdaptiveLimit;
  readonly #headers: OutgoingHttpHeaders;

  /** `headers` go with every request. */
  constructor(parts: KubeClientParts, writes = new AdaptiveLimit(WRITES_IN_FLIGHT), headers: OutgoingHttpHeaders = {}) {
    this.#parts = parts;
    this.#writes = writes;
    this.#headers = headers;
  }

  /** The same client with the rights of another; undefined: with our own. */
  as(identity: Impersonation | undefined): KubeClient {
    return new KubeClient(this.#parts, this.#writes, impersonationHeaders(identity));
  }

  /** Statuses from 200 to 299 only; everything else rejects with a `KubeError`, of code 0 when there was no answer. */
  async read(request: Http2Request, signal: AbortSignal): Promise<ClientAnswer> {
    return await this.#send(request, 'always', undefined, signal);
  }

  /** As `read`, for what changes something: no more of these at a time than the server takes, and only while permitted. */
  async write(request: Http2Request, repeat: Repeat, signal: AbortSignal): Promise<ClientAnswer> {
    const { permitWrite } = this.#parts;
    const permitted = permitWrite === undefined ? request : { ...request, permit: permitWrite };
    return await this.#send(permitted, repeat, this.#writes, signal);
  }

  /** One attempt: a stream's reader knows better from where to start again. */
  async stream(request: Http2Request, signal: AbortSignal): Promise<StreamedAnswer> {
    const answer = await this.#parts.transport.stream({ ...request, headers: this.#headers }, signal);
    if (isSuccess(answer.status)) return answer;
    const chunks: Buffer[] = [];
    for await (const chunk of answer.body) chunks.push(chunk);
    throw errorFromAnswer({ ...answer, body: Buffer.concat(chunks) });
  }

  async #send(
    request: Http2Request,
    repeat: Repeat,
    limit: AdaptiveLimit | undefined,
    signal: AbortSignal,
  ): Promise<ClientAnswer> {
    const backoff = new Backoff({ initialMs: 50, maxMs: 2_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 });
    let firstStartedAt: number | undefined;
    let firstFailureAt: number | undefined;
    let maybeRepeated = false;
    while (true) {
      const turn = await limit?.turn(firstFailureAt !== undefined, signal);
      firstStartedAt ??= performance.now();
      const outcome = await this.#attempt(request, signal).catch((error: unknown) => {
        turn?.end({ overloaded: false });
        throw error;
      });
      turn?.end(overload(outcome));
      const now = performance.now();
      if (!(outcome instanceof Error)) {
        return { ...outcome, repeatedAfterMs: maybeRepeated ? now - firstStartedAt : undefined };
      }
      firstFailureAt ??= now;
      const unanswered = outcome instanceof TransportError;
      const delayMs = (unanswered ? undefined : outcome.retryAfterMs) ?? backoff.next();
      if (now - firstFailureAt + delayMs > this.#patienceMs(outcome, repeat)) {
        throw unanswered ? new KubeError(outcome.message, { code: 0, cause: outcome }) : outcome;
      }
      if (unanswered && outcome.maybeProcessed) maybeRepeated = true;
      await sleep(delayMs, signal);
    }
  }

  async #attempt(request: Http2Request, signal: AbortSignal): Promise<Answer | TransportError | KubeError> {
    try {
      const answer = await this.#parts.transport.request({ ...request, headers: this.#headers }, signal);
      return isSuccess(answer.status) ? answer : errorFromAnswer(answer);
    } catch (error) {
      if (error instanceof TransportError) return error;
      throw error;
    }
  }

  /** How long after its first failure a request may be tried again. */
  #patienceMs(failure: TransportError | KubeError, repeat: Repeat): number {
    const { retryForMs, retryRefusedForMs } = this.#parts;
    if (failure instanceof TransportError) return repeat === 'always' || !failure.maybeProcessed ? retryForMs : -1;
    if (failure.code === 429) return retryRefusedForMs;
    // As in client-go: the server says that it did nothing, and when to come back.
    return failure.code >= 500 && failure.retryAfterMs !== undefined ? retryForMs : -1;
  }
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

/**
 * Whether the API server itself has too much to do. A 429 without a time to come back is an admission webhook's word about
 * one object, a 503 or 504 that is no Status is about one server behind the API server.
 */
function overload(outcome: Answer | TransportError | KubeError): Outcome {
  if (outcome instanceof TransportError) return { overloaded: outcome.timedOut };
  if (!(outcome instanceof KubeError)) return { overloaded: false };
  const { code, reason, retryAfterMs } = outcome;
  if (code === 429) return retryAfterMs === undefined ? { overloaded: false } : { overloaded: true, pauseMs: retryAfterMs };
  return { overloaded: (code === 503 || code === 504) && reason !== '', pauseMs: retryAfterMs };
}
