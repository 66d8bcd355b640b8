import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { type Program, startProgram } from '../harness/process.ts';
import { type ProcessInfo, processesWith } from '../harness/processes.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { ensureBinaries, progressOnStderr } from './binaries.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import { removeLeftovers } from './leftovers.ts';

const BUILD_TIMEOUT_MS = 30 * 60_000;
const SIGNAL = new AbortController().signal;

beforeAll(async () => {
  await ensureBinaries(progressOnStderr, SIGNAL);
}, BUILD_TIMEOUT_MS);

describe('a control plane', () => {
  let controlPlane: ControlPlane;

  beforeAll(async () => {
    controlPlane = await startControlPlane({ nodes: 3 }, SIGNAL);
  });

  afterAll(async () => await controlPlane.stop());

  const kubectl = async (...args: string[]): Promise<string> => {
    const env = { ...process.env, KUBECONFIG: controlPlane.kubeconfigPath };
    return (await promisify(execFile)(controlPlane.kubectlPath, args, { env })).stdout;
  };

  it('has as many ready nodes as were asked for', async () => {
    expect((await kubectl('get', 'nodes', '--no-headers')).match(/ Ready /g)).toHaveLength(3);
  });

  it('lets only its owner read the credentials, and has its certificate checked', async () => {
    const kubeconfig = await readFile(controlPlane.kubeconfigPath, 'utf8');
    expect((await stat(controlPlane.kubeconfigPath)).mode & 0o777).toBe(0o600);
    expect(kubeconfig).toContain(Buffer.from(await readFile(controlPlane.caFile)).toString('base64'));
    expect(kubeconfig).not.toContain('insecure');
  });

  it('keeps its data when the API server is killed and started again', async () => {
    await kubectl('create', 'configmap', 'kept', '--from-literal=a=1');
    const before = await pidsOf('kube-apiserver', controlPlane.directory);
    await controlPlane.restartApiServer(SIGNAL);
    expect(await pidsOf('kube-apiserver', controlPlane.directory)).not.toEqual(before);
    expect(await kubectl('get', 'configmap', 'kept', '-o', 'jsonpath={.data.a}')).toBe('1');
  });

  it('is gone without a trace once stopped', async () => {
    await controlPlane.stop();
    expect((await processesWith(basename(controlPlane.directory))).filter(isComponent)).toEqual([]);
    // The shells that guarded them end a moment later.
    await waitUntil(async () => (await processesWith(basename(controlPlane.directory))).length === 0, {
      what: 'the guards to end',
    });
    expect(existsSync(controlPlane.directory)).toBe(false);
  });
});

describe('a control plane whose start is aborted', () => {
  it('leaves nothing behind and rejects with the reason', async () => {
    const mine = `kas-controlplane-${process.pid}-`;
    // When jest runs in one process, the control plane that other test files share is its child, too.
    const before = (await processesWith(mine)).filter(isComponent);
    const controller = new AbortController();
    const starting = startControlPlane({}, controller.signal);
    await waitUntil(async () => (await processesWith(mine)).filter(isComponent).length > before.length, {
      what: 'the first component',
    });
    controller.abort(new Error('changed my mind'));
    await expect(starting).rejects.toThrow('changed my mind');
    await waitUntil(async () => (await processesWith(mine)).filter(isComponent).length <= before.length, { what: 'it to end' });
    expect((await processesWith(mine)).filter(isComponent)).toEqual(before);
  });
});

describe('a control plane whose owner is killed with -9', () => {
  let owner: Program;

  beforeEach(async () => {
    owner = await startProgram('test/controlplane/start-and-stay.ts', []);
  });

  afterEach(async () => {
    await owner[Symbol.asyncDispose]();
    await removeLeftovers();
  });

  it.each([
    [
      'while it starts',
      async () => await waitUntil(async () => (await componentsOf(owner)).length > 1, { what: 'a second component' }),
    ],
    ['while it runs', async () => await owner.waitForLine(/kas-controlplane-/, 60_000)],
  ])('ends with it, %s, and the next start removes its folder', async (_when, reached) => {
    await reached();
    const folder = await folderOf(owner);
    await owner.kill('SIGKILL');
    await waitUntil(async () => (await componentsOf(owner)).length === 0, { what: 'all components to end' });

    expect(existsSync(folder)).toBe(true);
    await removeLeftovers();
    expect(existsSync(folder)).toBe(false);
  });

  it('is ended by the next start when its guards were killed first', async () => {
    const directory = await owner.waitForLine(/kas-controlplane-/, 60_000);
    const guards = (await processesWith(basename(directory))).filter((one) => !isComponent(one));
    for (const { pid } of guards) process.kill(pid, 'SIGKILL');
    // Asked while the owner is alive: once it is dead, a start in another test run may be the next one.
    expect((await componentsOf(owner)).length).toBeGreaterThan(0);
    await owner.kill('SIGKILL');

    await removeLeftovers();

    await waitUntil(async () => (await componentsOf(owner)).length === 0, { what: 'all components to end' });
    expect(existsSync(directory)).toBe(false);
  });
});

/** The components are started by shells that name them, too. */
function isComponent({ command }: ProcessInfo): boolean {
  return command !== '' && !command.startsWith('/bin/sh');
}

async function componentsOf(owner: Program): Promise<ProcessInfo[]> {
  return (await processesWith(`kas-controlplane-${owner.pid}-`)).filter(isComponent);
}

/** The folder its control plane keeps its files in. */
async function folderOf(owner: Program): Promise<string> {
  const name = (await readdir(tmpdir())).find((entry) => entry.startsWith(`kas-controlplane-${owner.pid}-`));
  if (name === undefined) throw new Error('the control plane has no folder');
  return join(tmpdir(), name);
}

async function pidsOf(name: string, directory: string): Promise<number[]> {
  const found = (await processesWith(basename(directory))).filter((one) => isComponent(one) && one.command.includes(`/${name} `));
  return found.map(({ pid }) => pid);
}
