import { join } from 'node:path';
import { ensureGoProgram } from '../../harness/go-program.ts';

export type Peer = 'flux' | 'argocd';

/** Path of a peer's program, from the cache; built first, which takes minutes, when its sources are new. */
export async function ensurePeer(peer: Peer, progress: (line: string) => void, signal: AbortSignal): Promise<string> {
  const folder = join(import.meta.dirname, peer);
  const sources = ['go.mod', 'go.sum', 'main.go'];
  return await ensureGoProgram({ name: peer, folder, package: '.', sources, cache: 'bench' }, progress, signal);
}
