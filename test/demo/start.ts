import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { UserError } from '../../lib/errors.ts';
import { runProgram } from '../../lib/program.ts';
import { startControlPlane } from '../controlplane/control-plane.ts';
import { isFreePort } from '../harness/free-port.ts';
import { isolatedGit, WorkingCopy } from '../harness/git.ts';
import { Stack } from '../harness/stack.ts';
import { AGENT, freeAddresses, PROJECT, type StackAddresses } from '../harness/stack-files.ts';
import { Feed } from './feed.ts';

const USAGE = `npm start -- [options]
  --kubeconfig FILE   a cluster of yours instead of the local one
  --context NAME      context of that kubeconfig; default: its current one
  --repository DIR    a Git repository of yours instead of the example; the commit it is at is pushed
  --state DIR         keeps configuration, tokens, repositories and logs; default: .kas
`;

const EXAMPLE = join(import.meta.dirname, '../../manifests-examples/shop');
const POLL_PERIOD_MS = 20_000;

interface Options {
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly repository: string | undefined;
  readonly state: string;
}

await runProgram('start', async (args, signal) => {
  const options = parse(args);
  if (options === 'help') process.stdout.write(USAGE);
  else await start(options, signal);
});

async function start(options: Options, signal: AbortSignal): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const { kubeconfig, kubectl } =
    options.kubeconfig === undefined
      ? await localCluster(opened, signal)
      : { kubeconfig: options.kubeconfig, kubectl: 'kubectl' };
  const stack = opened.use(
    await Stack.open({
      directory: options.state,
      kubeconfig,
      ...(options.context === undefined ? {} : { context: options.context }),
      addresses: await addresses(),
      pollPeriodMs: POLL_PERIOD_MS,
      notifications: true,
    }),
  );
  await seed(stack.cloneUrl, options.repository);
  await stack.agentk.start();
  print(instructions(stack, `${kubectl} --kubeconfig ${kubeconfig}`, options));
  await follow(stack, signal);
}

interface ClusterAccess {
  readonly kubeconfig: string;
  readonly kubectl: string;
}

async function localCluster(opened: AsyncDisposableStack, signal: AbortSignal): Promise<ClusterAccess> {
  print('Starting a local cluster (built first if this machine has none yet, which takes some minutes) …\n');
  const controlPlane = opened.use(await startControlPlane({}, signal));
  return { kubeconfig: controlPlane.kubeconfigPath, kubectl: controlPlane.kubectlPath };
}

/** The usual ports, so that the address of a clone stays good; free ones where something else has them. */
async function addresses(): Promise<StackAddresses> {
  const usual = { gitGrpc: 8075, gitHttp: 8090, kasAgents: 8150, kasObservability: 8151, kasApi: 8153 };
  const free = await freeAddresses();
  const chosen = Object.entries(usual).map(async ([name, port]) => [
    name,
    (await isFreePort(port)) ? `127.0.0.1:${port}` : free[name as keyof StackAddresses],
  ]);
  return Object.fromEntries(await Promise.all(chosen)) as StackAddresses;
}

/** Pushes the first commit into an empty repository; one with content is left as it is. */
async function seed(url: string, repository: string | undefined): Promise<void> {
  if (repository !== undefined) {
    const git = isolatedGit(resolve(repository));
    await git.raw(['push', '--quiet', url, 'HEAD:refs/heads/main']).catch((error: Error) => {
      throw new UserError(`cannot push ${repository} into the git server: ${error.message.trim()}`, { cause: error });
    });
    return;
  }
  const directory = await mkdtemp(join(tmpdir(), 'kas-seed-'));
  try {
    const clone = await WorkingCopy.clone(url, directory);
    const { all } = await clone.git.branch(['--remotes']);
    if (all.length > 0) return;
    for (const name of await readdir(EXAMPLE)) await cp(join(EXAMPLE, name), join(directory, name), { recursive: true });
    await clone.commitAndPush('Open the shop');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function instructions(stack: Stack, kubectl: string, { context, state, repository }: Options): string {
  const example = repository === undefined;
  const cluster = context === undefined ? '' : ` --context ${context}`;
  const file = example ? 'the image in shop/frontend.yaml' : 'a manifest';
  const workload = example ? '--namespace shop deployment/frontend' : 'deployment/NAME';
  return `
kas, agentk and a git server are running. State and logs: ${state}

  Clone the repository (the address holds a token that allows pushing):
    git clone ${stack.cloneUrl}

  Change something, for example ${file}, and push:
    git commit --all --message "Release" && git push

  Look at the cluster:
    alias k="${kubectl}${cluster}"
    k get deployments --all-namespaces
  Change something by hand, and see it put back:
    k scale ${workload} --replicas 5

  Project ${PROJECT}, agent ${AGENT}: its configuration is .gitlab/agents/${AGENT}/config.yaml in the repository.
  Ctrl-C stops everything.

`;
}

async function follow(stack: Stack, signal: AbortSignal): Promise<void> {
  const feed = new Feed();
  for await (const { message } of stack.api.watch(signal)) {
    if (message?.$case === 'removed') print(`${time()} ${removal(message.value.unit)}\n`);
    if (message?.$case !== 'unit') continue;
    for (const line of feed.lines(message.value)) print(`${time()} ${line}\n`);
  }
}

/** Problems of the configuration are listed as the unit without a name. */
function removal(unit: string): string {
  return unit === '' ? 'configuration: in order' : `${unit}: left the configuration; its objects stay`;
}

function time(): string {
  return new Date().toTimeString().slice(0, 8);
}

function print(text: string): void {
  process.stdout.write(text);
}

function parse(args: readonly string[]): Options | 'help' {
  const text = { type: 'string' } as const;
  const options = { kubeconfig: text, context: text, repository: text, state: text, help: { type: 'boolean' } } as const;
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true, allowPositionals: false });
    if (values.help === true) return 'help';
    if (values.context !== undefined && values.kubeconfig === undefined) throw new Error('--context needs --kubeconfig');
    return {
      kubeconfig: values.kubeconfig,
      context: values.context,
      repository: values.repository,
      state: resolve(values.state ?? '.kas'),
    };
  } catch (error) {
    throw new UserError(`${(error as Error).message}\n${USAGE}`, { cause: error });
  }
}
