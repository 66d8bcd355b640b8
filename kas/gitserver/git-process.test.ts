import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { gitOutput } from './git-process.ts';

const run = promisify(execFile);
const never = new AbortController().signal;

it('gives what git prints, and tells how it failed', async () => {
  expect(String(await gitOutput(['--version'], { cwd: '/' }, never))).toMatch(/^git version /);
  const failure = gitOutput(['cat-file', '-t', 'HEAD'], { cwd: '/' }, never);
  await expect(failure).rejects.toMatchObject({
    name: 'GitFailure',
    exitCode: 128,
    message: expect.stringMatching(/^git cat-file/),
  });
  await expect(gitOutput(['--version'], { cwd: '/nowhere' }, never)).rejects.toThrow('ENOENT');
});

it('is unavailable, and the program goes on, when there are no file descriptors left', async () => {
  const source = `
    import { closeSync, openSync } from 'node:fs';
    const { gitOutput } = await import(${JSON.stringify(new URL('./git-process.ts', import.meta.url).href)});
    const open = [];
    try { while (true) open.push(openSync('/dev/null')); } catch {}
    const attempt = () => gitOutput(['--version'], { cwd: '/' }, new AbortController().signal)
      .then((text) => String(text).slice(0, 3), (error) => error.name);
    const without = await attempt();
    await new Promise((resolve) => setImmediate(resolve));
    for (const file of open) closeSync(file);
    console.log(without, await attempt());`;
  const command = 'ulimit -n 100; exec "$0" --input-type=module -e "$1"';
  const { stdout } = await run('sh', ['-c', command, process.execPath, source]);
  expect(stdout).toBe('UnavailableError git\n');
});
