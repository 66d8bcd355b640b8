import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

const library = new URL('./program.ts', import.meta.url).href;
const errors = new URL('./errors.ts', import.meta.url).href;

/** Runs a program around the given main function in a real process. */
function start(main: string) {
  const source = `
    const { runProgram } = await import(${JSON.stringify(library)});
    const { UserError } = await import(${JSON.stringify(errors)});
    const wait = (signal) => new Promise((resolve, reject) => { const keep = setInterval(() => {}, 1000);
      signal.addEventListener('abort', () => { clearInterval(keep); reject(signal.reason); }); });
    await runProgram('demo', ${main}, []);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'pipe'] });
  return { child, stderr: text(child.stderr), exit: once(child, 'exit') as Promise<[number | null, string | null]> };
}

test('an error of the user is one line and exit code 1', async () => {
  const { stderr, exit } = start(`async () => { throw new UserError('no such file: a.yaml') }`);
  expect(await exit).toEqual([1, null]);
  expect(await stderr).toBe('demo: no such file: a.yaml\n');
});

test('a bug shows its stack', async () => {
  const { stderr, exit } = start(`async () => { throw new TypeError('oops') }`);
  expect(await exit).toEqual([1, null]);
  expect(await stderr).toMatch(/demo: TypeError: oops\n +at/);
});

test('SIGTERM ends the program by its own signal, with exit code 0', async () => {
  const { child, exit } = start(`async (args, signal) => { process.stdout.write('up'); await wait(signal) }`);
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  expect(await exit).toEqual([0, null]);
});

test('a later signal ends a program that hangs, the same key press told twice does not', async () => {
  const { child, exit } = start(
    `async () => { process.stdout.write('up'); await new Promise(() => setInterval(() => {}, 1000)) }`,
  );
  await once(child.stdout, 'data');
  const started = performance.now();
  const again = setInterval(() => child.kill('SIGINT'), 20);
  expect(await exit).toEqual([1, null]);
  clearInterval(again);
  expect(performance.now() - started).toBeGreaterThan(300);
});
