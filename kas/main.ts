#!/usr/bin/env node
import { runProgram } from '../lib/program.ts';
import { runCommand } from './commands/run-command.ts';

await runProgram('kas', runCommand);
