import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Kustomize } from 'kustomize-ts';
import { kubectlPath } from '../../controlplane/binaries.ts';
import { createTempDir } from '../../harness/temp-dir.ts';
import type { Bench, Figure } from '../figure.ts';
import { median } from '../statistics.ts';
import { large, SMALL, type Tree } from './trees.ts';

const AT_ONCE = 8;

interface Contest {
  readonly name: string;
  readonly tree: Tree;
  readonly warmUp: number;
  readonly rounds: number;
  readonly atLeastTimesPeer: number;
}

const CONTESTS: readonly Contest[] = [
  { name: 'one small overlay, warm', tree: SMALL, warmUp: 300, rounds: 40, atLeastTimesPeer: 3 },
  // 2.5 times the time of the native program is allowed.
  { name: '300 Deployments, 5 transformers', tree: large(300), warmUp: 15, rounds: 9, atLeastTimesPeer: 1 / 2.5 },
];

/** kustomize-ts beside `kubectl kustomize` as a process, turn by turn on the same trees. */
export const run: Bench = async ({ progress }, signal) => {
  const kubectl = await kubectlPath(progress, signal);
  const directory = await createTempDir();
  try {
    const figures: Figure[] = [await coldStart(signal)];
    await using kustomize = new Kustomize();
    for (const [index, contest] of CONTESTS.entries()) {
      progress(`${contest.name}: ${contest.rounds} rounds`);
      const root = join(directory.path, String(index));
      await writeTree(root, contest.tree);
      const native = async (): Promise<string> => await runNative(kubectl, join(root, 'overlay'), signal);
      figures.push(await measure(contest, kustomize, native, signal));
    }
    progress(`${AT_ONCE} builds at once`);
    figures.push(...(await atOnce(kustomize, signal)));
    return figures;
  } finally {
    await directory.remove();
  }
};

async function coldStart(signal: AbortSignal): Promise<Figure> {
  const started = performance.now();
  await using fresh = new Kustomize({ workers: 1 });
  await fresh.build({ files: SMALL, path: 'overlay' }, signal);
  return { workload: 'one small overlay, first of all', unit: 'ms', better: 'less', ours: performance.now() - started };
}

async function measure(
  { name, tree, warmUp, rounds, atLeastTimesPeer }: Contest,
  kustomize: Kustomize,
  native: () => Promise<string>,
  signal: AbortSignal,
): Promise<Figure> {
  const ours = async (): Promise<string> => (await kustomize.build({ files: tree, path: 'overlay' }, signal)).yaml;
  if ((await ours()) !== (await native())) throw new Error(`${name}: the results differ`);
  for (let round = 0; round < warmUp; round += 1) await ours();
  const times: { ours: number[]; native: number[] } = { ours: [], native: [] };
  for (let round = 0; round < rounds; round += 1) {
    times.ours.push(await timeOf(ours));
    times.native.push(await timeOf(native));
  }
  const peer = { name: 'kubectl kustomize', value: median(times.native) };
  return { workload: name, unit: 'ms p50', better: 'less', ours: median(times.ours), peer, target: { atLeastTimesPeer } };
}

/** How much faster several builds are on all processors than one after the other, and what memory the process takes. */
async function atOnce(kustomize: Kustomize, signal: AbortSignal): Promise<Figure[]> {
  const tree = large(100);
  const all = async (used: Kustomize): Promise<void> =>
    void (await Promise.all(Array.from({ length: AT_ONCE }, () => used.build({ files: tree, path: 'overlay' }, signal))));
  await using single = new Kustomize({ workers: 1 });
  for (let round = 0; round < 2; round += 1) for (const used of [kustomize, single]) await all(used);
  const times: { many: number[]; one: number[] } = { many: [], one: [] };
  for (let round = 0; round < 5; round += 1) {
    times.many.push(await timeOf(() => all(kustomize)));
    times.one.push(await timeOf(() => all(single)));
  }
  const processors = availableParallelism();
  const gain: Figure = {
    workload: `${AT_ONCE} builds at once on ${processors} processors`,
    unit: 'ms p50',
    better: 'less',
    ours: median(times.many),
    peer: { name: 'one thread', value: median(times.one) },
    ...(processors > 1 ? { target: { atLeastTimesPeer: 1.5 } } : {}),
  };
  const resident = process.memoryUsage.rss() / (1 << 20);
  return [gain, { workload: 'memory of the process afterwards', unit: 'MiB RSS', better: 'less', ours: resident }];
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function runNative(kubectl: string, folder: string, signal: AbortSignal): Promise<string> {
  return (await promisify(execFile)(kubectl, ['kustomize', folder], { signal, maxBuffer: 64 << 20 })).stdout;
}

async function writeTree(root: string, tree: Tree): Promise<void> {
  for (const [path, content] of Object.entries(tree)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
}
