import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VERSION } from '../lib/version.ts';
import { fetchPackages } from './debian.ts';
import { type Image, ociImage } from './oci-layout.ts';
import { machine, rootFileSystem, USER } from './root-fs.ts';

const NAME = 'kas';
/** The C library gives each thread memory of its own, and keeps it: two such arenas are enough for what Node asks it for. */
const ENV = { PATH: '/usr/local/bin:/usr/bin', MALLOC_ARENA_MAX: '2' };

export interface BuiltImage extends Image {
  readonly sbom: string;
}

/**
 * The image of kas, agentk and kas-gitserver. The same sources and packages give the same bytes.
 * @param packages folder with Debian's packages, as `fetchPackages` leaves it
 */
export async function buildImage(packages: string, signal: AbortSignal): Promise<BuiltImage> {
  const workspace = await mkdtemp(join(tmpdir(), 'image-'));
  try {
    const { layers, sbom } = await rootFileSystem({ packages, workspace, name: NAME, version: VERSION }, signal);
    const settings = { name: NAME, version: VERSION, architecture: machine().architecture, user: `${USER}:${USER}` };
    return { ...ociImage(layers, { ...settings, env: ENV, command: ['kas', '--help'] }), sbom };
  } finally {
    await rm(workspace, { recursive: true, force: true });
  }
}

/** `npm run image`: writes dist/image. */
async function main(signal: AbortSignal): Promise<void> {
  const target = join(import.meta.dirname, '../dist/image');
  const packages = await mkdtemp(join(tmpdir(), 'image-packages-'));
  try {
    await fetchPackages(packages, signal);
    const image = await buildImage(packages, signal);
    const file = `${NAME}-${VERSION}-${machine().architecture}`;
    await mkdir(target, { recursive: true });
    await writeFile(join(target, `${file}.tar`), image.archive);
    await writeFile(join(target, `${file}.cdx.json`), image.sbom);
    const [compressed, unpacked] = [image.compressedBytes, image.unpackedBytes].map((bytes) => (bytes / 1e6).toFixed(1));
    process.stdout.write(`dist/image/${file}.tar\n${image.digest}\n${compressed} MB compressed, ${unpacked} MB unpacked\n`);
  } finally {
    await rm(packages, { recursive: true, force: true });
  }
}

if (import.meta.main) await main(new AbortController().signal);
