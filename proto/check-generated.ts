// Fails when proto/gen is not what `npm run generate` makes of proto/src, when buf's lint finds fault, or when our own
// protocol breaks peers that speak the last released one (proto/released.binpb, written by `npm run release:protocol`).
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const proto = dirname(fileURLToPath(import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'kas-proto-'));
try {
  for (const name of ['src', 'buf.yaml', 'buf.gen.yaml'])
    cpSync(join(proto, name), join(scratch, 'proto', name), { recursive: true });
  symlinkSync(join(proto, '..', 'node_modules'), join(scratch, 'node_modules'));
  run('buf', ['generate'], join(scratch, 'proto'));
  run('buf', ['build', '--exclude-source-info', '-o', 'gen/descriptors.binpb'], join(scratch, 'proto'));
  run('diff', ['-r', join(scratch, 'proto', 'gen'), join(proto, 'gen')], proto);
  run('buf', ['lint'], proto);
  run('buf', ['breaking', '--against', 'released.binpb'], proto);
} catch {
  process.stderr.write('proto: not clean; `npm run generate` brings proto/gen up to date\n');
  process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function run(command: string, args: readonly string[], cwd: string): void {
  execFileSync(command, args, { cwd, stdio: 'inherit' });
}
