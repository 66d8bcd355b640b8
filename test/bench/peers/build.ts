import { createHash } from 'node:crypto';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { withLock } from '../../controlplane/cache-lock.ts';
import { cacheRoot, runGo } from '../../harness/go-tool.ts';

export type Peer = 'flux' | 'argocd';

const SOURCES = ['go.mod', 'go.sum', 'main.go'];

/** Path of a peer's program, from the cache; built first, which takes minutes, when its sources are new. */
export async function ensurePeer(peer: Peer, progress: (line: string) => void, signal: AbortSignal): Promise<string> {
  const folder = join(import.meta.dirname, peer);
  const root = join(cacheRoot(), 'bench');
  const target = join(root, `${peer}-${await contentKey(folder, signal)}`);
  if (await exists(target)) return target;
  await mkdir(root, { recursive: true });
  const waiting = (holder: number): void => progress(`waiting for process ${holder}, which is building ${peer} …`);
  const build = async (): Promise<void> => {
    if (await exists(target)) return;
    progress(`building ${peer} for the bench (once, takes minutes) …`);
    const temporary = `${target}.${process.pid}`;
    try {
      await runGo(['build', '-ldflags', '-s -w', '-o', temporary, '.'], folder, signal);
      await rename(temporary, target);
    } finally {
      await rm(temporary, { force: true });
    }
  };
  await withLock(`${target}.lock`, waiting, build, signal);
  return target;
}

async function contentKey(folder: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for (const file of SOURCES) hash.update(await readFile(join(folder, file)));
  hash.update(await runGo(['env', 'GOVERSION', 'GOOS', 'GOARCH'], folder, signal));
  return hash.digest('hex').slice(0, 16);
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
