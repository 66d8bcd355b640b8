import { readFile } from 'node:fs/promises';
import { Redis, type RedisOptions } from 'ioredis';
import { UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { RedisConfig } from '../config/kas-config.ts';

type Options = Omit<RedisOptions, 'replyMapping'>;

/** A command that is not answered in so long fails; its connection is opened anew when nothing at all was answered. */
const COMMAND_TIMEOUT_MS = 5_000;
const SOCKET_TIMEOUT_MS = 10_000;
const LONGEST_RETRY_MS = 1_000;

/** Makes connections to the Redis of the configuration, and tells of its absence once. `close` ends them all. */
export class RedisConnections {
  readonly #options: Options;
  readonly #log: Logger;
  readonly #connections = new Set<Redis>();
  /** Connections that are away. */
  readonly #away = new Set<Redis>();

  private constructor(options: Options, log: Logger) {
    this.#options = options;
    this.#log = log;
  }

  /** Connects to nothing yet. UserError when a file that the configuration names cannot be read. */
  static async open(config: RedisConfig, log: Logger): Promise<RedisConnections> {
    return new RedisConnections(await redisOptions(config), log);
  }

  /** For commands. They fail at once while Redis is away, and wait for the first connection a little. */
  commands(): Redis {
    const timeouts = { commandTimeout: COMMAND_TIMEOUT_MS, socketTimeout: SOCKET_TIMEOUT_MS };
    const connection = this.#create({ maxRetriesPerRequest: 2, ...timeouts });
    connection.once('ready', () => {
      connection.options.enableOfflineQueue = false;
    });
    return connection;
  }

  /** For what waits in Redis, or for messages: commands wait until Redis is back. */
  patient(): Redis {
    return this.#create({ maxRetriesPerRequest: null });
  }

  close(): void {
    for (const connection of this.#connections) connection.disconnect();
    this.#connections.clear();
  }

  #create(own: Options): Redis {
    const connection = new Redis({ ...this.#options, ...own });
    this.#connections.add(connection);
    // BullMQ makes copies of its own, and leaves them connecting for ever when Redis is away as it is closed.
    const duplicate = connection.duplicate.bind(connection);
    connection.duplicate = (...args) => {
      const copy = duplicate(...args);
      this.#connections.add(copy);
      copy.on('error', () => undefined);
      return copy;
    };
    connection.on('error', (error: Error) => this.#tell(connection, error));
    connection.on('close', () => this.#tell(connection, undefined));
    connection.on('ready', () => {
      if (this.#away.delete(connection) && this.#away.size === 0) this.#log.info('Redis answers again');
    });
    return connection;
  }

  #tell(connection: Redis, error: Error | undefined): void {
    // It is being closed by us.
    if (!this.#connections.has(connection)) return;
    if (this.#away.size === 0)
      this.#log.warn('Redis cannot be reached; will try again', error === undefined ? {} : { err: error });
    this.#away.add(connection);
  }
}

async function redisOptions(config: RedisConfig): Promise<Options> {
  const { servers, username, passwordFile, dialTimeoutMs } = config;
  const tls = await tlsOptions(config.tls);
  const common: Options = {
    connectTimeout: dialTimeoutMs,
    keepAlive: 10_000,
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 6), LONGEST_RETRY_MS),
    // A server that was made a replica says so: the connection is to the wrong one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    ...(username === undefined ? {} : { username }),
    ...(passwordFile === undefined ? {} : { password: await readSecret(passwordFile) }),
  };
  if (servers.kind === 'single')
    return { ...common, host: servers.address.host, port: servers.address.port, ...(tls === undefined ? {} : { tls }) };
  return {
    ...common,
    sentinels: servers.addresses.map(({ host, port }) => ({ host, port })),
    name: servers.masterName,
    sentinelRetryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 6), LONGEST_RETRY_MS),
    ...(servers.passwordFile === undefined ? {} : { sentinelPassword: await readSecret(servers.passwordFile) }),
    ...(tls === undefined ? {} : { tls, sentinelTLS: tls, enableTLSForSentinelMode: true }),
  };
}

async function tlsOptions(tls: RedisConfig['tls']): Promise<Options['tls']> {
  if (tls === undefined) return undefined;
  const { caCertificateFile, clientCertificate } = tls;
  return {
    ...(caCertificateFile === undefined ? {} : { ca: await readText(caCertificateFile) }),
    ...(clientCertificate === undefined
      ? {}
      : { cert: await readText(clientCertificate.certificateFile), key: await readText(clientCertificate.keyFile) }),
  };
}

async function readSecret(file: string): Promise<string> {
  return (await readText(file)).trim();
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UserError(`Cannot read ${file}, which the configuration of Redis names: ${(error as Error).message}`, {
      reason: 'FileUnreadable',
      cause: error,
    });
  }
}
