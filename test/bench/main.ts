import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../../lib/errors.ts';
import { runProgram } from '../../lib/program.ts';
import { type Bench, verdictOf } from './figure.ts';
import { formatTable } from './table.ts';

const HERE = import.meta.dirname;

/** `npm run bench -- NAME [options]`: runs one bench, prints its table, fails when a figure falls short. */
await runProgram('bench', async ([name, ...args], signal) => {
  if (name === undefined || !names().includes(name)) {
    throw new UserError(`usage: npm run bench -- NAME [options], where NAME is one of ${names().join(', ')}`);
  }
  const { run } = (await import(join(HERE, name, 'bench.ts'))) as { readonly run: Bench };
  const figures = await run({ args, progress: (line) => void process.stderr.write(`${line}\n`) }, signal);
  process.stdout.write(`${formatTable(figures)}\n`);
  const short = figures.filter((figure) => verdictOf(figure) === 'short');
  if (short.length > 0) throw new UserError(`${short.length} of ${figures.length} figures fall short`);
});

function names(): readonly string[] {
  return readdirSync(HERE).filter((entry) => existsSync(join(HERE, entry, 'bench.ts')));
}
