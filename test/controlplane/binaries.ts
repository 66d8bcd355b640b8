import { createHash } from 'node:crypto';
import { access, cp, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheRoot, runGo } from '../harness/go-tool.ts';
import { isAlive, withLock } from './cache-lock.ts';

/** Paths of the programs that make up a cluster, and of the rules by which kwok plays its nodes. */
export interface Binaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubeControllerManager: string;
  readonly kubeScheduler: string;
  readonly kubectl: string;
  readonly kwok: string;
  readonly kwokStages: readonly string[];
}

export type Progress = (line: string) => void;

interface Program {
  readonly name: string;
  readonly module: 'kubernetes' | 'kwok';
  readonly package: string;
}

const PROGRAMS: readonly Program[] = [
  { name: 'etcd', module: 'kubernetes', package: 'go.etcd.io/etcd/server/v3' },
  { name: 'kube-apiserver', module: 'kubernetes', package: 'k8s.io/kubernetes/cmd/kube-apiserver' },
  { name: 'kube-controller-manager', module: 'kubernetes', package: 'k8s.io/kubernetes/cmd/kube-controller-manager' },
  { name: 'kube-scheduler', module: 'kubernetes', package: 'k8s.io/kubernetes/cmd/kube-scheduler' },
  { name: 'kubectl', module: 'kubernetes', package: 'k8s.io/kubernetes/cmd/kubectl' },
  { name: 'kwok', module: 'kwok', package: 'sigs.k8s.io/kwok/cmd/kwok' },
];

/** Folders of kwok's own module, below kustomize/stage, whose files the kwok binary needs and does not carry. */
const KWOK_STAGES = ['node/fast', 'node/heartbeat-with-lease', 'pod/fast'];

const HERE = import.meta.dirname;

/** The programs, from the cache; built first, which takes minutes, when they are not there yet. */
export async function ensureBinaries(progress: Progress, signal: AbortSignal): Promise<Binaries> {
  const root = join(cacheRoot(), 'controlplane');
  const directory = join(root, await cacheKey(signal));
  if (!(await exists(directory))) {
    await mkdir(root, { recursive: true });
    await withLock(
      `${directory}.lock`,
      waitingLine(progress),
      async () => {
        if (!(await exists(directory))) await build(root, directory, progress, signal);
      },
      signal,
    );
  }
  return await binariesIn(directory);
}

/** The kubectl of the same version as the control plane. */
export async function kubectlPath(progress: Progress, signal: AbortSignal): Promise<string> {
  return (await ensureBinaries(progress, signal)).kubectl;
}

/** Progress for people: on standard error, so that it never mixes with a program's output. */
export function progressOnStderr(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Changes whenever the programs would come out differently. */
async function cacheKey(signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for (const module of ['kubernetes', 'kwok'])
    for (const file of ['go.mod', 'go.sum']) hash.update(await readFile(join(HERE, module, file)));
  hash.update(await go(['env', 'GOVERSION', 'GOOS', 'GOARCH'], 'kubernetes', signal));
  hash.update(JSON.stringify([PROGRAMS, KWOK_STAGES, await linkerFlags()]));
  return hash.digest('hex').slice(0, 16);
}

/** Strips debug information (half the size) and stamps the version, which a plain build leaves at v0.0.0. */
async function linkerFlags(): Promise<string> {
  const goMod = await readFile(join(HERE, 'kubernetes', 'go.mod'), 'utf8');
  const version = /k8s\.io\/kubernetes (v(\d+)\.(\d+)\.\d+)/.exec(goMod);
  if (version === null) throw new Error('test/controlplane/kubernetes/go.mod does not require k8s.io/kubernetes');
  const [, full, major, minor] = version;
  const stamps = { gitVersion: full, gitMajor: major, gitMinor: minor };
  return ['-s -w', ...Object.entries(stamps).map(([key, value]) => `-X k8s.io/component-base/version.${key}=${value}`)].join(' ');
}

async function build(root: string, directory: string, progress: Progress, signal: AbortSignal): Promise<void> {
  await removeAbandoned(root);
  const temporary = await mkdtemp(join(root, `building-${process.pid}-`));
  try {
    progress(`building the control plane for tests (once, takes minutes) into ${directory}`);
    const flags = await linkerFlags();
    for (const [index, program] of PROGRAMS.entries())
      await buildProgram(program, `${index + 1} of ${PROGRAMS.length}`, join(temporary, program.name), flags, progress, signal);
    await copyStages(join(temporary, 'stages'), signal);
    await rename(temporary, directory).catch(async (error: NodeJS.ErrnoException) => {
      // Somebody else finished the same build first; theirs is as good.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function buildProgram(
  program: Program,
  position: string,
  target: string,
  flags: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  const elapsed = (): string => `${Math.round((performance.now() - started) / 1000)} s`;
  progress(`building ${program.name} (${position}) …`);
  const timer = setInterval(() => progress(`building ${program.name} (${position}) … ${elapsed()}`), 10_000);
  try {
    await go(['build', '-ldflags', flags, '-o', target, program.package], program.module, signal);
  } finally {
    clearInterval(timer);
  }
  progress(`built ${program.name} in ${elapsed()}`);
}

async function copyStages(target: string, signal: AbortSignal): Promise<void> {
  const source = (await go(['list', '-m', '-f', '{{.Dir}}', 'sigs.k8s.io/kwok'], 'kwok', signal)).trim();
  for (const folder of KWOK_STAGES)
    for (const name of await readdir(join(source, 'kustomize/stage', folder)))
      if (name.endsWith('.yaml') && name !== 'kustomization.yaml')
        await cp(join(source, 'kustomize/stage', folder, name), join(target, name));
}

/** As `runGo`, in one of the module folders. */
async function go(args: readonly string[], module: Program['module'], signal: AbortSignal): Promise<string> {
  return await runGo(args, join(HERE, module), signal);
}

/** Removes what builds of processes that died left behind. */
async function removeAbandoned(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    const owner = /^building-(\d+)-/.exec(name)?.[1];
    if (owner !== undefined && !isAlive(Number(owner))) await rm(join(root, name), { recursive: true, force: true });
  }
}

async function binariesIn(directory: string): Promise<Binaries> {
  const stages = join(directory, 'stages');
  return {
    etcd: join(directory, 'etcd'),
    kubeApiserver: join(directory, 'kube-apiserver'),
    kubeControllerManager: join(directory, 'kube-controller-manager'),
    kubeScheduler: join(directory, 'kube-scheduler'),
    kubectl: join(directory, 'kubectl'),
    kwok: join(directory, 'kwok'),
    kwokStages: (await readdir(stages)).map((name) => join(stages, name)),
  };
}

function waitingLine(progress: Progress): (holder: number) => void {
  let said = 0;
  return (holder) => {
    if (said !== 0 && performance.now() - said < 10_000) return;
    said = performance.now();
    progress(`waiting for process ${holder}, which is building the control plane …`);
  };
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
