#!/usr/bin/env node
import { runProgram } from '../lib/program.ts';
import { VERSION } from '../lib/version.ts';
import { runAgentk } from './app.ts';
import { parseFlags, USAGE } from './config/flags.ts';
import { keepHeapSmall } from './heap.ts';

keepHeapSmall();
await runProgram('agentk', async (args, signal) => {
  const flags = parseFlags(args, process.env);
  if (flags === 'help') process.stdout.write(USAGE);
  else if (flags === 'version') process.stdout.write(`${VERSION}\n`);
  else await runAgentk(flags, signal);
});
