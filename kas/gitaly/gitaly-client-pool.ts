import { Channel, type ChannelOptions } from '@grpc/grpc-js';
import { CLIENT_WINDOW } from '../../lib/grpc/windows.ts';
import { BlobServiceClient } from '../../proto/gen/gitaly/blob.ts';
import { CommitServiceClient } from '../../proto/gen/gitaly/commit.ts';
import { RefServiceClient } from '../../proto/gen/gitaly/ref.ts';
import { SmartHTTPServiceClient } from '../../proto/gen/gitaly/smarthttp.ts';
import type { RepositoryLocation } from '../registry/registry.ts';
import { parseGitalyAddress } from './gitaly-address.ts';
import { GitalyRepository } from './gitaly-repository.ts';
import { type GitalyMetrics, type GitalyServer, NO_GITALY_METRICS } from './gitaly-server.ts';
import { RepositoryTurns } from './repository-turns.ts';
import { TokenBucket } from './token-bucket.ts';

export interface RateLimit {
  readonly refillPerSecond: number;
  readonly bucketSize: number;
}

export interface GitalyClientPoolOptions {
  /** For all calls to all servers together. */
  readonly globalRateLimit: RateLimit;
  readonly perServerRateLimit: RateLimit;
  readonly metrics?: GitalyMetrics;
}

const MAX_WAITING_CALLS = 20_000;
/** Calls to one server, those that wait for a rate limit included: far more than it works on at a time. */
const TURNS = { concurrency: 64, perGroup: 32, perRepository: 16 };

const CHANNEL_OPTIONS: ChannelOptions = {
  ...CLIENT_WINDOW,
  // Back soon after a restart of Gitaly; grpc-js would wait for up to two minutes.
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 5_000,
  // Finds dead connections; Gitaly allows one ping in 20 s.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
};

/** One channel per Gitaly address, opened at its first use. `close` ends them all. */
export class GitalyClientPool {
  readonly #options: GitalyClientPoolOptions;
  readonly #global: TokenBucket;
  readonly #servers = new Map<string, GitalyServer>();

  constructor(options: GitalyClientPoolOptions) {
    this.#options = options;
    this.#global = bucket(options.globalRateLimit);
  }

  repository(location: RepositoryLocation): GitalyRepository {
    return new GitalyRepository(this.#server(location.gitaly.address), location);
  }

  close(): void {
    for (const server of this.#servers.values()) server.channel.close();
    this.#servers.clear();
  }

  #server(address: string): GitalyServer {
    const known = this.#servers.get(address);
    if (known !== undefined) return known;
    const server = connect(address, this.#global, this.#options);
    this.#servers.set(address, server);
    return server;
  }
}

function connect(
  address: string,
  global: TokenBucket,
  { perServerRateLimit, metrics = NO_GITALY_METRICS }: GitalyClientPoolOptions,
): GitalyServer {
  const own = bucket(perServerRateLimit);
  const turns = new RepositoryTurns(TURNS);
  const { target, channelCredentials } = parseGitalyAddress(address);
  const channel = new Channel(target, channelCredentials, CHANNEL_OPTIONS);
  const options = { channelOverride: channel };
  return {
    commits: new CommitServiceClient(target, channelCredentials, options),
    blobs: new BlobServiceClient(target, channelCredentials, options),
    refs: new RefServiceClient(target, channelCredentials, options),
    smartHttp: new SmartHTTPServiceClient(target, channelCredentials, options),
    channel,
    metrics,
    lacksGetBlobs: false,
    async admit(location, signal) {
      using turn = new DisposableStack();
      turn.use(await turns.enter(location, signal));
      await own.take(signal);
      await global.take(signal);
      return turn.move();
    },
  };
}

function bucket(limit: RateLimit): TokenBucket {
  return new TokenBucket({ ...limit, maxWaiting: MAX_WAITING_CALLS });
}
