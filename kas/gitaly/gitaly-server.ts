import type { Channel } from '@grpc/grpc-js';
import type { BlobServiceClient } from '../../proto/gen/gitaly/blob.ts';
import type { CommitServiceClient } from '../../proto/gen/gitaly/commit.ts';
import type { RefServiceClient } from '../../proto/gen/gitaly/ref.ts';
import type { SmartHTTPServiceClient } from '../../proto/gen/gitaly/smarthttp.ts';

/** The services of one Gitaly server, over one channel. */
export interface GitalyServer {
  readonly commits: CommitServiceClient;
  readonly blobs: BlobServiceClient;
  readonly refs: RefServiceClient;
  readonly smartHttp: SmartHTTPServiceClient;
  readonly channel: Channel;
  /** Set once a server that is too old has said so. */
  lacksGetBlobs: boolean;
  /** Waits for the rate limits. */
  admit(signal: AbortSignal): Promise<void>;
}
