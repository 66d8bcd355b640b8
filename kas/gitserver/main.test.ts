import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { gitText, temporaryFolder, WorkTree } from './testing/work-tree.ts';

const MAIN = new URL('./main.ts', import.meta.url).pathname;
const run = promisify(execFile);

let folder: string;
let config: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  config = join(folder, 'config.yaml');
  await writeFile(config, "listen: {grpc: '127.0.0.1:0', http: '127.0.0.1:0'}\nstorages: [{name: default, path: storage}]\n");
});

afterAll(async () => await rm(folder, { recursive: true, force: true }));

async function command(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return await run(process.execPath, [MAIN, ...args]).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
}

/** Starts the server and waits for its line. */
async function serve(): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [MAIN, 'serve', '--config', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  for await (const line of createInterface({ input: child.stderr })) {
    const entry = JSON.parse(line) as { msg: string; url: string; address: string };
    if (entry.msg === 'Ready') return { child, url: entry.url };
  }
  throw new Error('the server ended before it was ready');
}

it('creates a repository and a token, serves a push with them, and stops on SIGTERM', async () => {
  const created = await command(
    'create',
    '--config',
    config,
    '--storage',
    'default',
    '--default-branch',
    'trunk',
    'group/project.git',
  );
  expect(created).toMatchObject({ code: 0, stdout: `${join(folder, 'storage/group/project.git')}\n`, stderr: '' });
  const { stdout: token } = await command('token', 'create', '--config', config, '--project', 'group/project.git');
  const { child, url } = await serve();
  const work = await WorkTree.create(folder);
  const commit = await work.commit('first');
  await work.push(`${url.replace('//', `//git:${token.trim()}@`)}/group/project`, 'HEAD:refs/heads/trunk');
  expect(await gitText(created.stdout.trim(), 'rev-parse', 'HEAD')).toBe(commit);
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
});

it('says in one line which port is taken', async () => {
  const other = createServer();
  other.listen(0, '127.0.0.1');
  await once(other, 'listening');
  const taken = `127.0.0.1:${(other.address() as AddressInfo).port}`;
  for (const [key, name] of [
    ['grpc', 'Gitaly server'],
    ['http', 'HTTP server'],
  ] as const) {
    const listen = { grpc: '127.0.0.1:0', http: '127.0.0.1:0', [key]: taken };
    await writeFile(`${config}.taken`, JSON.stringify({ listen, storages: [{ name: 'default', path: 'storage' }] }));
    const { code, stderr } = await command('serve', '--config', `${config}.taken`);
    expect({ code, stderr: stderr.split('\n').filter((line) => !line.startsWith('{')) }).toEqual({
      code: 1,
      stderr: [expect.stringMatching(`kas-gitserver: ${name}: cannot listen on ${taken}: .*EADDRINUSE`), ''],
    });
  }
  other.close();
});

it.each([
  [[], 'the command is missing'],
  [['x'], 'x is not a command'],
  [['serve'], '--config is missing'],
  [['serve', '--config', 'CONFIG', '--storage', 'x'], "Unknown option '--storage'"],
  [['create', '--config', 'CONFIG'], '1 argument(s) expected, 0 given'],
  [['create', '--config', 'CONFIG', '--storage', 'x', 'a.git'], 'storage name not found'],
  [['token', 'create', '--config', 'CONFIG'], '--project is missing'],
  [['token', 'create', '--config', 'CONFIG', '--project', 'none.git'], 'none.git: there is no such repository; create it first'],
  [['serve', '--config', '/nowhere'], 'Cannot read the configuration file /nowhere'],
])('says what is wrong with %j', async (args, expected) => {
  const { code, stdout, stderr } = await command(...args.map((arg) => (arg === 'CONFIG' ? config : arg)));
  expect({ code, stdout, stderr }).toEqual({
    code: 1,
    stdout: '',
    stderr: expect.stringContaining(`kas-gitserver: ${expected}`),
  });
});
