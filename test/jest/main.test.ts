import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';

const MAIN = join(import.meta.dirname, 'main.ts');

describe('a test run', () => {
  let project: TempDir;
  let output: string;

  beforeEach(async () => {
    project = await createTempDir();
    await mkdir(join(project.path, 'tests'));
    const reporters = ['default', join(import.meta.dirname, 'count-reporter.js')];
    await writeFile(join(project.path, 'jest.config.json'), JSON.stringify({ reporters, roots: ['<rootDir>/tests'] }));
  });

  afterEach(async () => await project.remove());

  /** Runs jest over the given test files; its exit code and the last line of all it wrote. */
  async function run(files: Record<string, string>, args: readonly string[] = []): Promise<[number | null, string]> {
    for (const [name, text] of Object.entries(files)) await writeFile(join(project.path, 'tests', name), text);
    const command = `"${process.execPath}" "${MAIN}" "--rootDir=${project.path}" ${args.join(' ')} 2>&1`;
    const { promise, resolve } = Promise.withResolvers<[number | null, string]>();
    const child = execFile('/bin/sh', ['-c', command], { cwd: project.path }, (_error, stdout) => {
      output = stdout;
      resolve([child.exitCode, stdout.trimEnd().split('\n').at(-1) ?? '']);
    });
    return await promise;
  }

  it('closes the run with the number of tests', async () => {
    const passing = "it('a', () => undefined); it('b', () => undefined);";
    expect(await run({ 'a.test.js': passing })).toEqual([0, '2 passed, 0 failed']);
  });

  it('counts failures, files that do not run, and tests left out', async () => {
    const files = {
      'mixed.test.js': "it('a', () => undefined); it('b', () => { throw new Error('no'); });",
      'broken.test.js': "require('./nothing-here.js');",
      'left-out.test.js': "it('a', () => undefined); it.skip('b', () => undefined); it.todo('c');",
    };
    expect(await run(files)).toEqual([1, '2 passed, 4 failed']);
  });

  it('fails a run that has no failure but leaves out a test', async () => {
    expect(await run({ 'a.test.js': "it('a', () => undefined); it.todo('b');" })).toEqual([1, '1 passed, 1 failed']);
  });

  it('runs what failed once more when asked to, and counts and names what passed then', async () => {
    const marker = join(project.path, 'marker');
    const files = {
      'steady.test.js': "it('a', () => undefined);",
      'unsteady.test.js': `const fs = require('node:fs');
        it('b', () => undefined);
        it('c', () => { if (!fs.existsSync('${marker}')) { fs.writeFileSync('${marker}', ''); throw new Error('not yet'); } });`,
    };
    expect(await run(files, ['--rerun-failed'])).toEqual([0, '3 passed, 0 failed']);
    expect(output).toContain('Unsteady, passed at the second try only: ');
    await rm(marker);
    expect(await run({})).toEqual([1, '2 passed, 1 failed']);
  });

  it('fails for what fails twice', async () => {
    const files = { 'a.test.js': "it('a', () => undefined);", 'b.test.js': "it('b', () => { throw new Error('no'); });" };
    expect(await run(files, ['--rerun-failed'])).toEqual([1, '1 passed, 1 failed']);
    expect(output).not.toContain('Unsteady');
  });

  it('fails when jest does not come to its end', async () => {
    expect(await run({ 'a.test.js': "it('a', () => process.kill(process.pid, 'SIGKILL'));" }, ['-i'])).toEqual([
      1,
      '0 passed, 1 failed',
    ]);
  });

  it('leaves out freely what a person did not ask for', async () => {
    const files = { 'a.test.js': "it('wanted', () => undefined); it('other', () => undefined);" };
    expect(await run(files, ['-t', 'wanted'])).toEqual([0, '1 passed, 0 failed']);
  });
});
