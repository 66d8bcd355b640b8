import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';

const REPOSITORY = join(import.meta.dirname, '../..');

describe('the leak check', () => {
  let project: TempDir;

  beforeEach(async () => {
    project = await createTempDir();
    await mkdir(join(project.path, 'tests'));
    const testEnvironment = join(import.meta.dirname, 'environment.js');
    await writeFile(join(project.path, 'jest.config.json'), JSON.stringify({ testEnvironment, roots: ['<rootDir>/tests'] }));
  });

  afterEach(async () => await project.remove());

  /** Runs jest over one test file, in workers as a run of many files does; its exit code and what it wrote. */
  async function run(text: string): Promise<[number | null, string]> {
    await writeFile(join(project.path, 'tests', 'a.test.js'), text);
    await writeFile(join(project.path, 'tests', 'b.test.js'), "it('is another file', () => undefined);");
    const jest = join(REPOSITORY, 'node_modules/jest/bin/jest.js');
    const args = ['--experimental-vm-modules', jest, '--rootDir', project.path, '--maxWorkers=2', '--workerThreads=false'];
    const { promise, resolve } = Promise.withResolvers<[number | null, string]>();
    const child = execFile(process.execPath, args, { cwd: project.path }, (_error, _stdout, stderr) =>
      resolve([child.exitCode, stderr]),
    );
    return await promise;
  }

  it.each([
    ['a server', "require('node:net').createServer().listen(0)", 'TCPServerWrap'],
    ['a child process', "require('node:child_process').spawn('sleep', ['5'], { stdio: 'ignore' })", 'ProcessWrap'],
    ['a timer', 'setInterval(() => undefined, 1_000)', 'Timeout'],
  ])('fails a file that leaves %s behind', async (_what, leak, kind) => {
    const [exitCode, output] = await run(`it('passes', () => { globalThis.kept = ${leak}; });`);
    expect(exitCode).toBe(1);
    expect(output).toContain(`left open after the last test: 1 ${kind}`);
  });

  it('passes a file that closes what it opened, in its last hook even', async () => {
    const [exitCode] = await run(`
      const server = require('node:net').createServer();
      beforeAll((done) => void server.listen(0, '127.0.0.1', done));
      afterAll(() => void server.close());
      it('passes', () => undefined);
    `);
    expect(exitCode).toBe(0);
  });
});
