import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { type Entry, type Tree, tar } from './tar.ts';

export interface ImageSettings {
  readonly name: string;
  readonly version: string;
  /** As Go names it: amd64, arm64. */
  readonly architecture: string;
  readonly user: string;
  readonly env: Readonly<Record<string, string>>;
  readonly command: readonly string[];
}

export interface Image {
  /** An OCI layout in a tar archive, which `docker load` reads too. */
  readonly archive: Buffer;
  /** Of the manifest: `sha256:…`. */
  readonly digest: string;
  /** Of the layers before compression. */
  readonly diffIds: readonly string[];
  /** What a registry stores and a node fetches. */
  readonly compressedBytes: number;
  readonly unpackedBytes: number;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const MEDIA = 'application/vnd.oci.image';
/** The same content is to have the same digest whenever it is built. */
const CREATED = '1970-01-01T00:00:00Z';

/**
 * An image of the given layers, lowest first. <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>
 */
export function ociImage(layers: readonly Tree[], settings: ImageSettings): Image {
  const archive = new Map<string, Entry>();
  const add = (mediaType: string, content: Buffer): Descriptor => {
    const added = { mediaType, digest: digestOf(content), size: content.length };
    archive.set(pathOf(added), file(content));
    return added;
  };
  const unpacked = layers.map((layer) => tar(layer));
  const stored = unpacked.map((layer) => add(`${MEDIA}.layer.v1.tar+gzip`, gzipSync(layer, { level: 9 })));
  const diffIds = unpacked.map((layer) => digestOf(layer));
  const config = add(`${MEDIA}.config.v1+json`, json(configOf(diffIds, settings)));
  const labels = { annotations: annotationsOf(settings) };
  const manifest = add(
    `${MEDIA}.manifest.v1+json`,
    json({ schemaVersion: 2, mediaType: `${MEDIA}.manifest.v1+json`, config, layers: stored, ...labels }),
  );
  const reference = `${settings.name}:${settings.version}`;
  const annotations = { 'io.containerd.image.name': reference, 'org.opencontainers.image.ref.name': settings.version };
  const platform = { architecture: settings.architecture, os: 'linux' };
  const manifests = [{ ...manifest, platform, annotations }];
  archive.set('oci-layout', file(json({ imageLayoutVersion: '1.0.0' })));
  archive.set('index.json', file(json({ schemaVersion: 2, mediaType: `${MEDIA}.index.v1+json`, manifests })));
  // What `docker load` of older Dockers goes by.
  archive.set(
    'manifest.json',
    file(json([{ Config: pathOf(config), RepoTags: [reference], Layers: stored.map((layer) => pathOf(layer)) }])),
  );
  return {
    archive: tar(archive),
    digest: manifest.digest,
    diffIds,
    compressedBytes: stored.reduce((sum, { size }) => sum + size, config.size + manifest.size),
    unpackedBytes: unpacked.reduce((sum, { length }) => sum + length, 0),
  };
}

function configOf(diffIds: readonly string[], settings: ImageSettings): object {
  return {
    created: CREATED,
    architecture: settings.architecture,
    os: 'linux',
    config: {
      User: settings.user,
      Env: Object.entries(settings.env).map(([name, value]) => `${name}=${value}`),
      Cmd: settings.command,
      WorkingDir: '/',
      StopSignal: 'SIGTERM',
      Labels: annotationsOf(settings),
    },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: diffIds.map(() => ({ created: CREATED, created_by: 'npm run image' })),
  };
}

function annotationsOf({ name, version }: ImageSettings): Readonly<Record<string, string>> {
  return {
    'org.opencontainers.image.title': name,
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.licenses': 'MIT',
  };
}

function pathOf({ digest }: Descriptor): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function file(content: Buffer): Entry {
  return { kind: 'file', content, mode: 0o644 };
}

function json(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

/** `sha256:…` */
export function digestOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
