import { type ChannelOptions, credentials, Metadata } from '@grpc/grpc-js';
import PQueue from 'p-queue';
import { AbortScope, sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { isAbort, UserError } from '../../lib/errors.ts';
import { callUnary } from '../../lib/grpc/call.ts';
import { signJwt } from '../../lib/jwt.ts';
import type { Logger } from '../../lib/log.ts';
import { NotificationsServiceClient } from '../../proto/gen/kas/api/v1/notifications.ts';

const ISSUER = 'kas-gitserver';
const CALL_TIMEOUT_MS = 5_000;
const MAX_CONCURRENT_CALLS = 16;
const RETRY = { initialMs: 100, maxMs: 10_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };
const CHANNEL: ChannelOptions = { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 2_000 };

/** What kas says that trying again cannot change. */
const FINAL: ReadonlySet<string> = new Set(['invalid', 'not_found', 'unimplemented', 'precondition']);

export interface Push {
  readonly storageName: string;
  readonly relativePath: string;
}

export interface PushNotifierDeps {
  /** `host:port` of kas' API. */
  readonly target: string;
  /** Signs the calls. */
  readonly secret: Uint8Array;
  readonly log: Logger;
}

interface Delivery {
  /** Another push came while kas was being told of an earlier one. */
  again: boolean;
  readonly finished: Promise<void>;
}

/**
 * Tells kas of pushes. A repository has one delivery at the most, however often it is pushed to; it is tried again until
 * kas took it or refused it for good. Repositories do not wait for each other, and all are tried when one gets through.
 */
export class PushNotifier {
  readonly #client: NotificationsServiceClient;
  readonly #secret: Uint8Array;
  readonly #log: Logger;
  readonly #scope: AbortScope;
  readonly #calls = new PQueue({ concurrency: MAX_CONCURRENT_CALLS });
  readonly #deliveries = new Map<string, Delivery>();
  #gotThrough = new AbortController();
  #failing = false;

  constructor({ target, secret, log }: PushNotifierDeps, signal: AbortSignal) {
    this.#client = new NotificationsServiceClient(target, credentials.createInsecure(), CHANNEL);
    this.#secret = secret;
    this.#log = log;
    this.#scope = new AbortScope(signal);
    // Connects now instead of with the first push.
    this.#client.getChannel().getConnectivityState(true);
  }

  /** Resolves once kas was told, after the last of the pushes that came meanwhile, or will never be. Never rejects. */
  async notify(push: Push): Promise<void> {
    const key = `${push.storageName}\0${push.relativePath}`;
    const present = this.#deliveries.get(key);
    if (present !== undefined) {
      present.again = true;
      return await present.finished;
    }
    const { promise: finished, resolve } = Promise.withResolvers<void>();
    const delivery: Delivery = { again: false, finished };
    this.#deliveries.set(key, delivery);
    await this.#deliver(push, delivery, this.#scope.signal);
    this.#deliveries.delete(key);
    resolve();
  }

  /** Repositories that kas still has to be told of. */
  get pending(): number {
    return this.#deliveries.size;
  }

  async close(): Promise<void> {
    this.#scope[Symbol.dispose]();
    await Promise.all([...this.#deliveries.values()].map((delivery) => delivery.finished));
    this.#client.close();
  }

  async #deliver(push: Push, delivery: Delivery, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(RETRY);
    while (!signal.aborted) {
      delivery.again = false;
      try {
        await this.#calls.add(() => this.#call(push, signal));
        this.#succeeded(push);
        if (!delivery.again) return;
        backoff.reset();
      } catch (error) {
        if (isAbort(error, signal)) return;
        if (error instanceof UserError && FINAL.has(error.kind)) {
          this.#log.error('kas refused the notification of a push', { repository: push.relativePath, err: error });
          if (!delivery.again) return;
        }
        await this.#pause(push, error, backoff.next(), signal);
      }
    }
  }

  async #call({ storageName, relativePath }: Push, signal: AbortSignal): Promise<void> {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${await signJwt(this.#secret, { issuer: ISSUER })}`);
    await callUnary(
      this.#client.gitPushEvent.bind(this.#client),
      { repository: { $case: 'storagePath', value: { storageName, relativePath } } },
      { metadata, timeoutMs: CALL_TIMEOUT_MS },
      signal,
    );
  }

  #succeeded({ relativePath }: Push): void {
    this.#log.debug('Told kas of a push', { repository: relativePath });
    if (!this.#failing) return;
    this.#failing = false;
    this.#log.info('kas takes notifications of pushes again');
    this.#gotThrough.abort();
    this.#gotThrough = new AbortController();
  }

  /** Waits for the next attempt: after the delay, or as soon as another repository's notification got through. */
  async #pause({ relativePath }: Push, error: unknown, delayMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#failing)
      this.#log.warn('Cannot tell kas of a push; will try again', { repository: relativePath, delayMs, err: error });
    this.#failing = true;
    const gotThrough = this.#gotThrough.signal;
    try {
      await sleep(delayMs, AbortSignal.any([signal, gotThrough]));
    } catch (reason) {
      if (!gotThrough.aborted && !signal.aborted) throw reason;
    }
  }
}
