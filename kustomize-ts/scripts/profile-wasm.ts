import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { large, SMALL } from '../../test/bench/kustomize/trees.ts';

/** Writes the profile that the module is optimised by. It need not be written again before upstream's code changes much. */

const SOURCE = join(import.meta.dirname, '../go');
const SMALL_ONES = 10;

const child = spawn('go', ['run', './profile', 'default.pgo'], { cwd: SOURCE, stdio: ['pipe', 'inherit', 'inherit'] });
child.stdin.end(JSON.stringify([large(300), ...Array<typeof SMALL>(SMALL_ONES).fill(SMALL)]));
const [code] = (await once(child, 'exit')) as [number | null];
process.exitCode = code ?? 1;
