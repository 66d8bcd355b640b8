// Keeps kas and agentk as they are now, for the tests of the versions that come: run when a version is released, by
// `npm run release:programs`.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

/** Packages that read files of their own; the test has this repository's. */
const EXTERNAL = ['kustomize-ts', 'grpc-health-check'];

const repository = join(import.meta.dirname, '../..');
const banner =
  "--banner:js=import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);";
const options = [
  '--bundle',
  '--minify',
  '--platform=node',
  '--format=esm',
  '--target=node24',
  ...EXTERNAL.map((name) => `--external:${name}`),
  banner,
];
const scratch = mkdtempSync(join(tmpdir(), 'kas-release-'));
try {
  for (const program of ['kas', 'agentk']) {
    const bundle = join(scratch, `${program}.js`);
    execFileSync('esbuild', [`${program}/main.ts`, ...options, `--outfile=${bundle}`], { cwd: repository, stdio: 'inherit' });
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24 };
    const compressed = brotliCompressSync(readFileSync(bundle), { params });
    writeFileSync(join(import.meta.dirname, 'released', `${program}.js.br`), compressed);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
