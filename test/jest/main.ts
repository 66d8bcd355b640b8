import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';

/**
 * `npm test -- [--rerun-failed] [what jest takes]`: runs jest and closes with one line for programs to read, `N passed, N failed`.
 *
 * With --rerun-failed the files that failed, when they are few, run once more after all others. A test on real processes and
 * sockets may miss its bound while two workers fill the machine; one that is broken fails again. What passed only then is
 * named, so that it is mended and not forgotten. Exit code 0 when nothing failed, 1 otherwise.
 */
const RERUN_FLAG = '--rerun-failed';

/** More than this and something is broken: a second try would only take time. */
const MOST_FILES_RERUN = 5;

const JEST = join(import.meta.dirname, '../../node_modules/jest/bin/jest.js');

/** What `test/jest/count-reporter.js` leaves, a file of tests each. */
interface FileCounts {
  readonly path: string;
  readonly passed: number;
  readonly failed: number;
}

interface Run {
  readonly succeeded: boolean;
  readonly files: readonly FileCounts[];
}

async function main(args: readonly string[]): Promise<void> {
  const jestArgs = args.filter((argument) => argument !== RERUN_FLAG);
  const first = await runJest(jestArgs);
  const failed = first.files.filter((file) => file.failed > 0);
  const mayRerun = args.includes(RERUN_FLAG) && failed.length > 0 && failed.length <= MOST_FILES_RERUN;
  if (!mayRerun) return close(first.succeeded, first.files, []);

  process.stdout.write(`\nOnce more, alone: ${failed.map(nameOf).join(', ')}\n\n`);
  const paths = failed.map((file) => file.path);
  // The paths take the place of patterns.
  const options = jestArgs.filter((argument) => argument.startsWith('--'));
  const second = await runJest([...options, '--runTestsByPath', ...paths]);
  // A file of which the second run knows nothing stays as it was.
  const files = first.files.map((file) => second.files.find(({ path }) => path === file.path) ?? file);
  close(second.succeeded, files, failed);
}

async function runJest(args: readonly string[]): Promise<Run> {
  const folder = await mkdtemp(join(tmpdir(), 'kas-test-counts-'));
  const counts = join(folder, 'counts.json');
  try {
    const command = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', JEST, ...args];
    const child = spawn(process.execPath, command, { stdio: 'inherit', env: { ...process.env, KAS_TEST_COUNTS: counts } });
    const { promise, resolve, reject } = Promise.withResolvers<number | null>();
    child.once('error', reject);
    child.once('close', resolve);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.kill(signal));
    const code = await promise;
    return { succeeded: code === 0, files: await readCounts(counts) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Nothing when jest ended before it could tell. */
async function readCounts(path: string): Promise<readonly FileCounts[]> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as FileCounts[];
  } catch {
    return [];
  }
}

function close(succeeded: boolean, files: readonly FileCounts[], rerun: readonly FileCounts[]): void {
  const mended = rerun.filter(({ path }) => files.some((file) => file.path === path && file.failed === 0));
  if (mended.length > 0) process.stdout.write(`\nUnsteady, passed at the second try only: ${mended.map(nameOf).join(', ')}\n`);
  const passed = sum(files, (file) => file.passed);
  const failed = sum(files, (file) => file.failed);
  // A run that failed without a failed test still has one: itself.
  process.stdout.write(`${passed} passed, ${succeeded ? failed : Math.max(failed, 1)} failed\n`);
  process.exitCode = succeeded && failed === 0 ? 0 : 1;
}

function sum(files: readonly FileCounts[], count: (file: FileCounts) => number): number {
  return files.reduce((total, file) => total + count(file), 0);
}

function nameOf(file: FileCounts): string {
  return relative(process.cwd(), file.path);
}

await main(process.argv.slice(2));
