import { readFile } from 'node:fs/promises';
import { Channel, type ChannelCredentials, type ChannelOptions, credentials, type Metadata } from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';
import { CLIENT_WINDOW } from '../../lib/grpc/windows.ts';
import { parsePrivateUrl } from './own-url.ts';
import type { PrivateAuth } from './private-auth.ts';

export interface ReplicaClientPoolOptions {
  readonly auth: PrivateAuth;
  /** PEM; the system's authorities when absent. For `grpcs` only. */
  readonly ca: Buffer | undefined;
  /** Name that the certificates of all replicas have; the host of the address when absent. */
  readonly serverName: string | undefined;
}

/** What a generated client is made of: `new XClient(replica.target, replica.credentials, { channelOverride: replica.channel })`. */
export interface ReplicaConnection {
  readonly target: string;
  readonly credentials: ChannelCredentials;
  readonly channel: Channel;
}

const CHANNEL_OPTIONS: ChannelOptions = {
  ...CLIENT_WINDOW,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  // Finds replicas whose machine is gone.
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 5_000,
};

/** One channel per replica, opened at its first use. `close` ends them all. */
export class ReplicaClientPool {
  readonly #options: ReplicaClientPoolOptions;
  readonly #replicas = new Map<string, ReplicaConnection>();

  constructor(options: ReplicaClientPoolOptions) {
    this.#options = options;
  }

  /** UserError when the file cannot be read. */
  static async open(
    auth: PrivateAuth,
    caCertificateFile: string | undefined,
    env: NodeJS.ProcessEnv,
  ): Promise<ReplicaClientPool> {
    const serverName = env['OWN_PRIVATE_API_HOST'];
    const ca = caCertificateFile === undefined ? undefined : await readCa(caCertificateFile);
    return new ReplicaClientPool({ auth, ca, serverName: serverName === '' ? undefined : serverName });
  }

  /** `url` as replicas publish theirs: `grpc://host:port` or `grpcs://host:port`. */
  connect(url: string): ReplicaConnection {
    const known = this.#replicas.get(url);
    if (known !== undefined) return known;
    const { target, tls } = parsePrivateUrl(url, 'the address of a replica');
    const { ca, serverName } = this.#options;
    const channelCredentials = tls ? credentials.createSsl(ca ?? null) : credentials.createInsecure();
    const options =
      tls && serverName !== undefined ? { ...CHANNEL_OPTIONS, 'grpc.ssl_target_name_override': serverName } : CHANNEL_OPTIONS;
    const channel = new Channel(`dns:${target}`, channelCredentials, options);
    const replica = { target, credentials: channelCredentials, channel };
    this.#replicas.set(url, replica);
    return replica;
  }

  /** Metadata for one call to any replica. */
  async metadata(): Promise<Metadata> {
    return await this.#options.auth.metadata();
  }

  /** Closes the channels of replicas that are not among these any more. */
  retain(urls: ReadonlySet<string>): void {
    for (const [url, { channel }] of this.#replicas) {
      if (urls.has(url)) continue;
      this.#replicas.delete(url);
      channel.close();
    }
  }

  close(): void {
    this.retain(new Set());
  }
}

async function readCa(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new UserError(`Cannot read the certificate authority of the private API ${file}: ${(error as Error).message}`, {
      reason: 'FileUnreadable',
      cause: error,
    });
  }
}
