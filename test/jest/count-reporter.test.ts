import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';

const REPOSITORY = join(import.meta.dirname, '../..');

describe('the count reporter', () => {
  let project: TempDir;

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
    const jest = join(REPOSITORY, 'node_modules/jest/bin/jest.js');
    const command = `"${process.execPath}" "${jest}" --rootDir "${project.path}" ${args.join(' ')} 2>&1`;
    const { promise, resolve } = Promise.withResolvers<[number | null, string]>();
    const child = execFile('/bin/sh', ['-c', command], { cwd: project.path }, (_error, stdout) =>
      resolve([child.exitCode, stdout.trimEnd().split('\n').at(-1) ?? '']),
    );
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

  it('leaves out freely what a person did not ask for', async () => {
    const files = { 'a.test.js': "it('wanted', () => undefined); it('other', () => undefined);" };
    expect(await run(files, ['-t', 'wanted'])).toEqual([0, '1 passed, 0 failed']);
  });
});
