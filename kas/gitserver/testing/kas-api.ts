import { Server, ServerCredentials } from '@grpc/grpc-js';
import { UserError } from '../../../lib/errors.ts';
import { Handlers } from '../../../lib/grpc/serve.ts';
import { verifyJwt } from '../../../lib/jwt.ts';
import { createLogger } from '../../../lib/log.ts';
import { NotificationsServiceService, type StoragePath } from '../../../proto/gen/kas/api/v1/notifications.ts';

export interface Notification extends StoragePath {
  /** By `performance.now()`. */
  readonly receivedAt: number;
}

/** The receiving end of notifications: a real gRPC server that checks the token as kas does and remembers what it was told. */
export class KasApi {
  readonly received: Notification[] = [];
  readonly #server = new Server();
  readonly #stopping = new AbortController();
  #waiting: (() => void)[] = [];

  constructor(secret: Uint8Array, beforeAnswer: () => Promise<void> = async () => undefined) {
    const handlers = new Handlers(createLogger('test', 'error'), this.#stopping.signal);
    this.#server.addService(NotificationsServiceService, {
      gitPushEvent: handlers.unary(async ({ repository }, { metadata }) => {
        const token =
          metadata
            .get('authorization')[0]
            ?.toString()
            .replace(/^Bearer /, '') ?? '';
        const { issuer } = await verifyJwt(token, secret);
        if (issuer !== 'kas-gitserver' || repository?.$case !== 'storagePath') throw new UserError('not a push');
        this.received.push({ ...repository.value, receivedAt: performance.now() });
        for (const wake of this.#waiting.splice(0)) wake();
        await beforeAnswer();
        return {};
      }),
    });
  }

  async listen(port = 0): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
    return await promise;
  }

  /** Resolves as soon as so many notifications were received in all. */
  async count(count: number): Promise<void> {
    const tooLate = AbortSignal.timeout(10_000);
    while (this.received.length < count) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const onTimeout = (): void => reject(new Error(`${this.received.length} of ${count} notifications came`));
      tooLate.addEventListener('abort', onTimeout, { once: true });
      this.#waiting.push(resolve);
      await promise;
      tooLate.removeEventListener('abort', onTimeout);
    }
  }

  stop(): void {
    this.#stopping.abort();
    this.#server.forceShutdown();
  }
}
