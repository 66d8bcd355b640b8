import { execFile } from 'node:child_process';
import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startControlPlane } from '../controlplane/control-plane.ts';
import { ApiReader } from '../harness/api-reader.ts';
import { WorkingCopy } from '../harness/git.ts';
import { Stack } from '../harness/stack.ts';
import { freeAddresses, PROJECT } from '../harness/stack-files.ts';
import { createTempDir } from '../harness/temp-dir.ts';
import type { Scene } from './scene.ts';
import { STAGING } from './steps-kustomize.ts';
import { type Story, seconds } from './story.ts';

export interface Stage extends AsyncDisposable {
  readonly scene: Scene;
}

const EXAMPLE = join(import.meta.dirname, '../../manifests-examples/shop');

/** A local cluster, git server and kas running, the example pushed: everything before agentk starts. */
export async function openStage(story: Story, signal: AbortSignal): Promise<Stage> {
  await using opened = new AsyncDisposableStack();
  const directory = await createTempDir();
  opened.defer(async () => {
    if (story.failed) process.stderr.write(`logs and configuration are kept in ${directory.path}\n`);
    else await directory.remove();
  });
  const controlPlane = await story.step(
    'A real control plane starts (built first, if this machine has none yet)',
    async (saw) => {
      const started = performance.now();
      const running = opened.use(await startControlPlane({}, signal));
      story.figure('cluster', seconds(performance.now() - started));
      saw(`kube-apiserver answers at ${running.server}`);
      return running;
    },
  );
  const { stack, repository } = await story.step('Git server and kas start; the example is pushed', async (saw) => {
    const running = opened.use(
      await Stack.open({
        directory: join(directory.path, 'stack'),
        kubeconfig: controlPlane.kubeconfigPath,
        addresses: await freeAddresses(),
        tenants: [{ agent: STAGING, project: PROJECT }],
        projects: [PROJECT],
        pollPeriodMs: 20_000,
        notifications: true,
      }),
    );
    const clone = await WorkingCopy.clone(running.cloneUrl, join(directory.path, 'shop'));
    for (const name of await readdir(EXAMPLE)) await cp(join(EXAMPLE, name), join(clone.directory, name), { recursive: true });
    const commit = await clone.commitAndPush('Open the shop');
    saw(`pushed ${commit.slice(0, 8)} over HTTP`);
    return { stack: running, repository: clone };
  });
  const { kubeconfigPath: kubeconfig } = controlPlane;
  const staging = opened.use(
    stack.agentkOf({ agent: STAGING, project: PROJECT }, { kubeconfig, agentNamespace: `agentk-${STAGING.name}` }),
  );
  const cluster = opened.use(new ApiReader(controlPlane.kubeconfigPath));
  const run = async (args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> =>
    (await promisify(execFile)(controlPlane.kubectlPath, ['--kubeconfig', controlPlane.kubeconfigPath, ...args], { env, signal }))
      .stdout;
  const kubectl = {
    run: async (...args: string[]) => await run(args, process.env),
    edit: async (object: string, namespace: string, editor: string) =>
      await run(['edit', object, '--namespace', namespace], { ...process.env, KUBE_EDITOR: editor }),
  };
  const scene: Scene = { story, stack, staging, repository, cluster, kubectl, signal };
  const kept = opened.move();
  return { scene, [Symbol.asyncDispose]: async () => await kept.disposeAsync() };
}
