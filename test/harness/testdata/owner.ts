import { startProgram } from '../process.ts';

/** Starts a program, says its process id and stays. */
const program = await startProgram('test/harness/testdata/talker.ts', ['--stubborn']);
await program.waitForLine(/ready/);
process.stdout.write(`started ${program.pid}\n`);
