import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Cmd: readonly string[];
}

/** Unpacks the layers of an OCI layout's only image into a folder, as a container runtime does; files keep their owners for root. */
export async function unpackLayers(layout: string, target: string): Promise<ImageConfig> {
  const json = async (path: string): Promise<unknown> => JSON.parse(await readFile(join(layout, path), 'utf8'));
  const blob = (digest: string): string => join('blobs', digest.replace(':', '/'));
  const index = (await json('index.json')) as { manifests: [{ digest: string }] };
  const manifest = (await json(blob(index.manifests[0].digest))) as { config: { digest: string }; layers: { digest: string }[] };
  for (const { digest } of manifest.layers) await promisify(execFile)('tar', ['-xpzf', join(layout, blob(digest)), '-C', target]);
  return ((await json(blob(manifest.config.digest))) as { config: ImageConfig }).config;
}

/** `node image/unpack.ts LAYOUT TARGET`, for the Dockerfile. */
async function main([layout, target]: readonly string[]): Promise<void> {
  if (layout === undefined || target === undefined) throw new Error('usage: node image/unpack.ts LAYOUT TARGET');
  await unpackLayers(layout, target);
}

if (import.meta.main) await main(process.argv.slice(2));
