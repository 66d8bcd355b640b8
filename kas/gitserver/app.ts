import { mkdir } from 'node:fs/promises';
import { type ListenAddress } from '../../lib/config-types.ts';
import { UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { type GitServerConfig, readText } from './config.ts';
import { GrpcServer } from './grpc-server.ts';
import { ObjectStore } from './object-store.ts';
import { Storages } from './storages.ts';

export interface RunningGitServer {
  readonly grpcAddress: ListenAddress;
  readonly storages: Storages;
  readonly objects: ObjectStore;
  /** Idempotent. */
  stop(): Promise<void>;
}

/** Starts everything; the addresses hold the ports that were chosen where the configuration says 0. */
export async function startGitServer(config: GitServerConfig, log: Logger): Promise<RunningGitServer> {
  const secret = config.tokenFile === undefined ? undefined : await readSecret(config.tokenFile);
  const storages = new Storages(config.storages);
  for (const storage of storages.all) await mkdir(storage.path, { recursive: true });
  const objects = new ObjectStore(config.limits);
  const grpc = new GrpcServer({ storages, objects, secret, log });
  const grpcAddress = await grpc.listen(config.grpcAddress);
  return {
    grpcAddress,
    storages,
    objects,
    async stop() {
      await grpc.stop();
      objects.close();
    },
  };
}

async function readSecret(file: string): Promise<string> {
  const secret = (await readText(file, 'token file')).trim();
  if (secret === '') throw new UserError(`${file}: is empty; it must hold the secret that Gitaly tokens are signed with`);
  return secret;
}
