import { type Metadata, ServerCredentials } from '@grpc/grpc-js';
import { verifyGitalyToken } from '../../lib/gitaly-token.ts';
import { bind } from '../../lib/grpc/bind.ts';
import { type CallContext, Handlers } from '../../lib/grpc/serve.ts';
import { WindowedServer } from '../../lib/grpc/windows.ts';
import type { ListenAddress } from '../../lib/listen-address.ts';
import type { Logger } from '../../lib/log.ts';
import { BlobServiceService } from '../../proto/gen/gitaly/blob.ts';
import { CommitServiceService } from '../../proto/gen/gitaly/commit.ts';
import { RefServiceService } from '../../proto/gen/gitaly/ref.ts';
import { SmartHTTPServiceService } from '../../proto/gen/gitaly/smarthttp.ts';
import { BlobService } from './blob-service.ts';
import { CommitService } from './commit-service.ts';
import type { Mirrors } from './mirrors.ts';
import type { ObjectStore } from './object-store.ts';
import { RefService } from './ref-service.ts';
import { SmartHttpService } from './smart-http-service.ts';
import type { Storages } from './storages.ts';

export interface GrpcServerDeps {
  readonly storages: Storages;
  readonly objects: ObjectStore;
  readonly mirrors: Mirrors;
  /** Secret of Gitaly's v2 tokens; undefined asks for none. */
  readonly secret: string | undefined;
  readonly log: Logger;
}

/** The Gitaly-compatible gRPC server. */
export class GrpcServer {
  readonly #stopping = new AbortController();
  readonly #server = new WindowedServer();
  readonly #secret: string | undefined;

  constructor({ storages, objects, mirrors, secret, log }: GrpcServerDeps) {
    this.#secret = secret;
    const handlers = new Handlers(log, this.#stopping.signal);
    const commits = new CommitService(storages, objects);
    const blobs = new BlobService(storages, objects);
    const refs = new RefService(storages, objects);
    const http = new SmartHttpService(storages, mirrors);
    const authenticate = this.#authenticate.bind(this);
    const stream = <Request, Response>(handle: (request: Request, context: CallContext) => AsyncIterable<Response>) =>
      handlers.serverStreaming(async function* (request: Request, context): AsyncGenerator<Response, void, void> {
        authenticate(context.metadata);
        yield* handle(request, context);
      });
    this.#server.addService(CommitServiceService, {
      treeEntry: stream(commits.treeEntry.bind(commits)),
      getTreeEntries: stream(commits.getTreeEntries.bind(commits)),
    });
    this.#server.addService(BlobServiceService, { getBlobs: stream(blobs.getBlobs.bind(blobs)) });
    this.#server.addService(SmartHTTPServiceService, { infoRefsUploadPack: stream(http.infoRefsUploadPack.bind(http)) });
    this.#server.addService(RefServiceService, {
      findDefaultBranchName: handlers.unary(async (request, context) => {
        authenticate(context.metadata);
        return await refs.findDefaultBranchName(request, context);
      }),
    });
  }

  /** The address it listens at, with the port that was chosen. */
  async listen(address: ListenAddress): Promise<ListenAddress> {
    return await bind(this.#server, 'Gitaly server', address, ServerCredentials.createInsecure());
  }

  /** Ends running calls with UNAVAILABLE and closes the connections. */
  async stop(): Promise<void> {
    this.#stopping.abort(new DOMException('The server stops', 'AbortError'));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.tryShutdown(() => resolve());
    setImmediate(() => this.#server.forceShutdown());
    await promise;
  }

  #authenticate(metadata: Metadata): void {
    if (this.#secret === undefined) return;
    const [authorization] = metadata.get('authorization');
    verifyGitalyToken(authorization?.toString(), this.#secret);
  }
}
