import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../lib/errors.ts';
import { decodeJwtSecret } from '../../lib/jwt.ts';
import type { ListenAddress } from '../../lib/listen-address.ts';
import type { Logger } from '../../lib/log.ts';
import { type GitServerConfig, readText } from './config.ts';
import { GrpcServer } from './grpc-server.ts';
import { HttpServer } from './http-server.ts';
import { Mirrors } from './mirrors.ts';
import { ObjectStore } from './object-store.ts';
import { installPushHook } from './push-hook.ts';
import { PushNotifier } from './push-notifier.ts';
import { PushSpool } from './push-spool.ts';
import { PushTokens } from './push-tokens.ts';
import { INTERNAL_FOLDER, type Storage, Storages } from './storages.ts';

/** How deep repositories may lie in a storage to be found at the start: `a/b/c/d/project.git`. */
const MAX_GROUP_DEPTH = 10;

export interface RunningGitServer {
  /** With the port that was chosen where the configuration says 0. */
  readonly grpcAddress: ListenAddress;
  readonly httpAddress: ListenAddress;
  /** Stops everything: HTTP first, so that pushes that have arrived end well. Idempotent. */
  stop(): Promise<void>;
}

/** Starts the git server: hooks, gRPC, HTTP, and the notification of kas when it is configured. UserError for bad files. */
export async function startGitServer(config: GitServerConfig, log: Logger): Promise<RunningGitServer> {
  await using stack = new AsyncDisposableStack();
  const storages = new Storages(config.storages);
  for (const storage of storages.all) await installHooks(storages, storage, log);

  const objects = stack.adopt(new ObjectStore(config.limits), (store) => store.close());
  if (config.notify !== undefined) await startNotifying(config.notify, storages, log, stack);

  const mirrors = await openMirrors(config, storages, log, stack);
  const secret = config.tokenFile === undefined ? undefined : await readSecret(config.tokenFile);
  const grpc = stack.adopt(new GrpcServer({ storages, objects, mirrors, secret, log }), (server) => server.stop());
  const grpcAddress = await grpc.listen(config.grpcAddress);

  const tokens = new PushTokens(config.pushTokensFile, config.projects);
  const { maxBodyBytes } = config.limits;
  const http = stack.adopt(new HttpServer({ storages, tokens, projects: config.projects, maxBodyBytes, log }), (server) =>
    server.stop(),
  );
  const httpAddress = await http.listen(config.httpAddress);

  const running = stack.move();
  let stopped: Promise<void> | undefined;
  return { grpcAddress, httpAddress, stop: () => (stopped ??= running.disposeAsync()) };
}

async function startNotifying(
  notify: NonNullable<GitServerConfig['notify']>,
  storages: Storages,
  log: Logger,
  stack: AsyncDisposableStack,
): Promise<void> {
  const secret = decodeJwtSecret(await readText(notify.secretFile, 'secret file'), notify.secretFile);
  const stopping = new AbortController();
  const notifier = new PushNotifier({ target: notify.target, secret, log }, stopping.signal);
  const spool = new PushSpool({ storages: storages.all, onPush: (push) => notifier.notify(push), log }, stopping.signal);
  stack.defer(async () => {
    stopping.abort(new DOMException('The server stops', 'AbortError'));
    await notifier.close();
    await spool.close();
  });
  await spool.start();
}

async function openMirrors(
  { projects }: GitServerConfig,
  storages: Storages,
  log: Logger,
  stack: AsyncDisposableStack,
): Promise<Mirrors> {
  const mirrored = projects.flatMap(({ storage, relativePath, remote }) =>
    remote === undefined ? [] : [{ storage, relativePath, remote }],
  );
  const stopping = new AbortController();
  const mirrors = new Mirrors({ storages, projects: mirrored, log }, stopping.signal);
  stack.defer(async () => await mirrors.close());
  await mirrors.start();
  return mirrors;
}

/** Repositories may have been put there by other means than ours. */
async function installHooks(storages: Storages, storage: Storage, log: Logger): Promise<void> {
  await mkdir(storage.path, { recursive: true });
  for await (const relativePath of repositoriesIn(storage)) {
    try {
      const installed = await installPushHook(await storages.repository(storage.name, relativePath));
      if (!installed)
        log.warn('Another post-receive hook is there; pushes are found by polling only', { repository: relativePath });
    } catch (error) {
      log.warn('Cannot install the post-receive hook', { repository: relativePath, err: error });
    }
  }
}

async function* repositoriesIn(storage: Storage, group = '', depth = 0): AsyncGenerator<string, void, void> {
  for (const entry of await readdir(join(storage.path, group), { withFileTypes: true })) {
    const path = join(group, entry.name);
    if (!entry.isDirectory() || path === INTERNAL_FOLDER) continue;
    if (entry.name.endsWith('.git')) yield path;
    else if (depth < MAX_GROUP_DEPTH) yield* repositoriesIn(storage, path, depth + 1);
  }
}

async function readSecret(file: string): Promise<string> {
  const secret = (await readText(file, 'token file')).trim();
  if (secret === '') throw new UserError(`${file}: is empty; it must hold the secret that Gitaly tokens are signed with`);
  return secret;
}
