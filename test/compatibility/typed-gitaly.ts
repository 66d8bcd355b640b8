import { join } from 'node:path';
import { ServerCredentials } from '@grpc/grpc-js';
import { CommitService } from '../../kas/gitserver/commit-service.ts';
import { Mirrors } from '../../kas/gitserver/mirrors.ts';
import { ObjectStore } from '../../kas/gitserver/object-store.ts';
import { SmartHttpService } from '../../kas/gitserver/smart-http-service.ts';
import { Storages } from '../../kas/gitserver/storages.ts';
import { bind } from '../../lib/grpc/bind.ts';
import { type CallContext, Handlers } from '../../lib/grpc/serve.ts';
import { WindowedServer } from '../../lib/grpc/windows.ts';
import { createLogger } from '../../lib/log.ts';
import { CommitServiceService, type TreeEntryRequest, TreeEntryResponse_ObjectType } from '../../proto/gen/gitaly/commit.ts';
import { SmartHTTPServiceService } from '../../proto/gen/gitaly/smarthttp.ts';

/**
 * The git server as kas 13.8 wants Gitaly: every piece of a file says that it is one of a blob. Gitaly says it in the first
 * alone, so that the original cannot read files of more than 128 KiB from it.
 */
export async function startTypedGitaly(folder: string): Promise<AsyncDisposable & { readonly address: string }> {
  const stopping = new AbortController();
  const log = createLogger('typed gitaly', 'error');
  const handlers = new Handlers(log, stopping.signal);
  const storages = new Storages([{ name: 'default', path: join(folder, 'storage') }]);
  const objects = new ObjectStore({ maxIdleProcesses: 4, maxConcurrentStreams: 4 });
  const commits = new CommitService(storages, objects);
  const http = new SmartHttpService(storages, new Mirrors({ storages, projects: [], log }, stopping.signal));
  const server = new WindowedServer();
  server.addService(CommitServiceService, {
    treeEntry: handlers.serverStreaming(async function* (request: TreeEntryRequest, context: CallContext) {
      for await (const piece of commits.treeEntry(request, context)) yield { ...piece, type: TreeEntryResponse_ObjectType.BLOB };
    }),
    getTreeEntries: handlers.serverStreaming(commits.getTreeEntries.bind(commits)),
  });
  server.addService(SmartHTTPServiceService, {
    infoRefsUploadPack: handlers.serverStreaming(http.infoRefsUploadPack.bind(http)),
  });
  const { port } = await bind(server, 'typed gitaly', { host: '127.0.0.1', port: 0 }, ServerCredentials.createInsecure());
  return {
    address: `127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      stopping.abort();
      server.forceShutdown();
      objects.close();
    },
  };
}
