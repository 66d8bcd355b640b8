import type { Channel } from '@grpc/grpc-js';
import type { BlobServiceClient } from '../../proto/gen/gitaly/blob.ts';
import type { CommitServiceClient } from '../../proto/gen/gitaly/commit.ts';
import type { RefServiceClient } from '../../proto/gen/gitaly/ref.ts';
import type { SmartHTTPServiceClient } from '../../proto/gen/gitaly/smarthttp.ts';
import type { RepositoryLocation } from '../registry/registry.ts';

/** What is called of a Gitaly server. */
export type GitalyMethod = 'infoRefsUploadPack' | 'findDefaultBranchName' | 'getTreeEntries' | 'getBlobs' | 'treeEntry';

export interface GitalyMetrics {
  called(method: GitalyMethod): void;
  /** A file's content has come. */
  blobRead(): void;
}

export const NO_GITALY_METRICS: GitalyMetrics = { called: () => undefined, blobRead: () => undefined };

/** The services of one Gitaly server, over one channel. */
export interface GitalyServer {
  readonly commits: CommitServiceClient;
  readonly blobs: BlobServiceClient;
  readonly refs: RefServiceClient;
  readonly smartHttp: SmartHTTPServiceClient;
  readonly channel: Channel;
  readonly metrics: GitalyMetrics;
  /** Set once a server that is too old has said so. */
  lacksGetBlobs: boolean;
  /** Waits for the repository's turn and the rate limits. The call ends when what is returned is disposed of. */
  admit(location: RepositoryLocation, signal: AbortSignal): Promise<Disposable>;
}
