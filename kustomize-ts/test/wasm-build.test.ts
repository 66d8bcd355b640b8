import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { Kustomize, type KustomizeError } from 'kustomize-ts';
import { createTempDir } from '../../test/harness/temp-dir.ts';
import { buildModule, type ModuleRecord, pinnedGo, RECORD, sha256, usedGo } from '../scripts/build-wasm.ts';
import { type Case, corpusFiles, readCases } from './corpus.ts';

const MINUTES = 60_000;

const record = JSON.parse(await readFile(RECORD, 'utf8')) as ModuleRecord;

async function shipped(): Promise<Buffer> {
  return await promisify(brotliDecompress)(await readFile(new URL('kustomize.wasm.br', RECORD)));
}

test('the module that is shipped is the one of the record', async () => {
  const module = await shipped();
  expect({ sha256: sha256(module), bytes: module.length, go: await pinnedGo() }).toEqual({
    sha256: record.sha256,
    bytes: record.bytes,
    go: record.go,
  });
});

test(
  'the module comes from the source: the same bytes with the same Go, the same results with another one',
  async () => {
    const built = await buildModule();
    const isSameGo = (await usedGo()) === record.go;
    expect(isSameGo ? sha256(built) : record.sha256).toBe(record.sha256);
    expect(await differentResults(built)).toEqual([]);
  },
  // A machine that has never built it fetches and compiles all of upstream.
  10 * MINUTES,
);

/** Titles of the corpus' cases in which a module differs from the shipped one. None need to be built when it is the same. */
async function differentResults(module: Uint8Array): Promise<readonly string[]> {
  if (sha256(module) === record.sha256) return [];
  await using folder = await createTempDir();
  const file = join(folder.path, 'kustomize.wasm');
  await writeFile(file, module);
  await using known = new Kustomize({ workers: 1 });
  await using other = new Kustomize({ workers: 1, moduleUrl: pathToFileURL(file) });
  const different: string[] = [];
  for (const each of corpusFiles().flatMap((name) => readCases(name))) {
    const [expected, got] = await Promise.all([resultOf(known, each), resultOf(other, each)]);
    if (expected !== got) different.push(each.title);
  }
  return different;
}

async function resultOf(kustomize: Kustomize, { files, path }: Case): Promise<string> {
  return await kustomize.build({ files, path }).then(
    ({ yaml }) => yaml,
    ({ code, message }: KustomizeError) => `${code}: ${message}`,
  );
}
