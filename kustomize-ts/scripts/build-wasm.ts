import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants } from 'node:zlib';
import { DEFAULT_LIMITS } from '../src/limits.ts';
import { withMaximumMemory } from '../src/memory-section.ts';
import { thirdPartyLicenses } from './third-party-licenses.ts';

const run = promisify(execFile);

const SOURCE = join(import.meta.dirname, '../go');
const TARGET = join(import.meta.dirname, '../wasm');

/** What is known of the module that the package ships. */
export interface ModuleRecord {
  /** Of the module before compression. */
  readonly sha256: string;
  readonly bytes: number;
  /** The Go that it was built with; another one makes another module. */
  readonly go: string;
  /** Upstream's versions: kustomize, and its library. */
  readonly kustomize: string;
  readonly api: string;
}

export const RECORD = new URL('../wasm/kustomize.json', import.meta.url);

/** The kustomize release that the library's version belongs to: what it says of itself in labels. */
const KUSTOMIZE_VERSION = 'v5.8.1';

/** Builds the module and gives its bytes. The same Go and the same sources give the same bytes, wherever they are. */
export async function buildModule(goEnvironment: Readonly<Record<string, string>> = {}): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'kustomize-wasm-'));
  try {
    const target = join(folder, 'kustomize.wasm');
    const flags = `-s -w -buildid= -X sigs.k8s.io/kustomize/api/provenance.version=${KUSTOMIZE_VERSION}`;
    const args = [
      'build',
      '-pgo=auto',
      '-buildmode=c-shared',
      '-buildvcs=false',
      '-trimpath',
      '-ldflags',
      flags,
      '-o',
      target,
      '.',
    ];
    // Settings of the person who builds must not show in the result.
    const settings = { GOOS: 'wasip1', GOARCH: 'wasm', GOFLAGS: '-mod=readonly', GOWASM: '', GOEXPERIMENT: '', GOWORK: 'off' };
    await run('go', args, { cwd: SOURCE, env: { ...process.env, ...settings, ...goEnvironment } });
    return withMaximumMemory(await readFile(target), DEFAULT_LIMITS.memoryBytes);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The version that the toolchain line of go.mod pins, such as `go1.26.8`. */
export async function pinnedGo(): Promise<string> {
  const pinned = /^toolchain (go[\d.]+)$/m.exec(await readFile(join(SOURCE, 'go.mod'), 'utf8'))?.[1];
  if (pinned === undefined) throw new Error('kustomize-ts/go/go.mod has no toolchain line');
  return pinned;
}

/** The version of the Go that a build would use. */
export async function usedGo(): Promise<string> {
  return (await run('go', ['env', 'GOVERSION'], { cwd: SOURCE })).stdout.trim();
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function main(): Promise<void> {
  const go = await pinnedGo();
  const used = await usedGo();
  // Go brings the pinned toolchain itself, where it may.
  const module = await buildModule(used === go ? {} : { GOTOOLCHAIN: go });
  const goMod = await readFile(join(SOURCE, 'go.mod'), 'utf8');
  const api = /sigs\.k8s\.io\/kustomize\/api (\S+)/.exec(goMod)?.[1] ?? '';
  const record: ModuleRecord = { sha256: sha256(module), bytes: module.length, go, kustomize: KUSTOMIZE_VERSION, api };
  const compressed = await promisify(brotliCompress)(module, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
      [constants.BROTLI_PARAM_SIZE_HINT]: module.length,
    },
  });
  await writeFile(join(TARGET, 'kustomize.wasm.br'), compressed);
  await writeFile(join(TARGET, 'THIRD-PARTY-LICENSES.txt'), await thirdPartyLicenses(SOURCE));
  await writeFile(RECORD, `${JSON.stringify(record, undefined, 2)}\n`);
  process.stdout.write(`${record.bytes} bytes, ${compressed.length} compressed, sha256 ${record.sha256}\n`);
}

if (import.meta.main) await main();
