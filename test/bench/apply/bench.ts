import { parseArgs } from 'node:util';
import { ensureBinaries } from '../../controlplane/binaries.ts';
import { type ControlPlane, startControlPlane } from '../../controlplane/control-plane.ts';
import { waitUntil } from '../../harness/wait-until.ts';
import type { Bench, BenchOptions, Figure } from '../figure.ts';
import { ensurePeer } from '../peers/build.ts';
import { Agent } from './agent.ts';
import { Api } from './api.ts';
import { type Contenders, contenders, type Peers } from './contenders.ts';
import { availableCores, runOn, splitCores } from './cores.ts';
import { configMaps, GROUP, type Manifest, mixedObjects, widgetDefinition } from './manifests.ts';
import { memory } from './memory.ts';
import { removal } from './removal.ts';
import { liveEdits, oneChanged, unchanged } from './steady.ts';
import { type ThroughputWorkload, throughput } from './throughput.ts';

const THROUGHPUT: readonly ThroughputWorkload[] = [
  { name: '500 new ConfigMaps', count: 500, make: configMaps, rounds: { fast: 25, flux: 3, slow: 1 } },
  { name: '2,000 new ConfigMaps', count: 2_000, make: configMaps, rounds: { fast: 15, flux: 3, slow: 1 } },
  { name: '500 new objects of 8 kinds', count: 500, make: mixedObjects, rounds: { fast: 9, flux: 3, slow: 1 } },
];
/** Rounds of each workload that nobody measures, which let V8 compile what is measured. */
const WARM_UPS = 3;

/**
 * agentk's engine beside those of others, on one control plane. `--only TEXT` runs the workloads whose name holds the
 * text, and may be given more than once; `--rounds N` measures nobody more often; `--skip argo` leaves a
 * peer out.
 */
export const run: Bench = async (options, signal) => {
  const { wanted, rounds, skip } = parseOptions(options.args);
  const peers = await buildAll(options.progress, signal);
  await using controlPlane = await startApart(options.progress, signal);
  await using api = new Api(controlPlane);
  await using agent = await Agent.start(controlPlane, []);
  const all = contenders(controlPlane, peers, api, agent);
  const skipped = new Set(Object.entries(all).flatMap(([key, contender]) => (skip.includes(key) ? contender : [])));
  const figures: Figure[] = [];
  await establish(api, widgetDefinition());
  const workloads = THROUGHPUT.filter(({ name }) => wanted(name));
  for (const workload of workloads) {
    await prepare(api, all, workload, signal);
    const { fast, flux, slow } = workload.rounds;
    const limited = { fast: Math.min(fast, rounds), flux: Math.min(flux, rounds), slow: Math.min(slow, rounds) };
    figures.push(...(await throughput({ ...workload, rounds: limited }, all, skipped, api, options.progress, signal)));
  }
  const parts = { agent, api, progress: options.progress };
  for (const [name, measure] of steadyWorkloads(parts, controlPlane)) {
    if (wanted(name)) figures.push(...(await measure(signal)));
  }
  return figures;
};

/** What is built the first time, with all processors. */
async function buildAll(progress: (line: string) => void, signal: AbortSignal): Promise<Peers> {
  await ensureBinaries(progress, signal);
  return { flux: await ensurePeer('flux', progress, signal), argocd: await ensurePeer('argocd', progress, signal) };
}

/** A control plane on processors of its own; this process, and whoever it starts from now on, has the others. */
async function startApart(progress: (line: string) => void, signal: AbortSignal): Promise<ControlPlane> {
  const cores = splitCores(await availableCores());
  if (cores !== undefined) await runOn(cores.controlPlane);
  const controlPlane = await startControlPlane({ progress }, signal);
  if (cores === undefined) progress('One processor: control plane and contenders share it, ratios to the raw limit say little');
  else {
    await runOn(cores.contenders);
    progress(`Control plane on processors ${cores.controlPlane.join(', ')}, contenders on ${cores.contenders.join(', ')}`);
  }
  return controlPlane;
}

type Measure = (signal: AbortSignal) => Promise<readonly Figure[]>;

/** What is measured of agentk alone; those of one unit come one after the other. */
function steadyWorkloads(
  parts: { readonly agent: Agent; readonly api: Api; readonly progress: (line: string) => void },
  controlPlane: ControlPlane,
): readonly (readonly [name: string, measure: Measure])[] {
  const { agent, api, progress } = parts;
  const inUnit = (unit: string, make: typeof configMaps, count: number, measure: UnitMeasure): Measure => {
    return async (signal) => {
      const namespace = `bench-${unit}`;
      await api.createNamespace(namespace);
      agent.feed.configure([unit]);
      return await measure(unit, make(count, namespace), parts, signal);
    };
  };
  const unchangedAs =
    (name: string): UnitMeasure =>
    async (...rest) =>
      await unchanged(name, ...rest);
  return [
    ['500 ConfigMaps unchanged', inUnit('unchanged-500', configMaps, 500, unchangedAs('500 ConfigMaps'))],
    ['2,000 ConfigMaps unchanged', inUnit('unchanged-2000', configMaps, 2_000, unchangedAs('2,000 ConfigMaps'))],
    ['500 mixed unchanged', inUnit('unchanged-mixed', mixedObjects, 500, unchangedAs('500 objects of 8 kinds'))],
    ['1 changed', inUnit('one-changed', configMaps, 2_000, oneChanged)],
    ['live edit', inUnit('live-edits', configMaps, 2_000, liveEdits)],
    ['removal', async (signal) => await removal(agent, api, progress, signal)],
    ['memory', async (signal) => await memory(controlPlane, api, progress, signal)],
  ];
}

type UnitMeasure = (
  unit: string,
  manifests: readonly Manifest[],
  parts: { readonly agent: Agent; readonly api: Api; readonly progress: (line: string) => void },
  signal: AbortSignal,
) => Promise<readonly Figure[]>;

interface Options {
  readonly wanted: (workload: string) => boolean;
  /** At most so many of each. */
  readonly rounds: number;
  /** Names of `Contenders`. */
  readonly skip: readonly string[];
}

function parseOptions(args: BenchOptions['args']): Options {
  const { values } = parseArgs({
    args: [...args],
    options: { only: { type: 'string', multiple: true }, rounds: { type: 'string' }, skip: { type: 'string', multiple: true } },
  });
  const { only = [''], rounds = 'Infinity', skip = [] } = values;
  return {
    wanted: (workload) => only.some((text) => workload.includes(text)),
    rounds: Number(rounds),
    skip,
  };
}

/** Creates the definition and waits until its kind is served. */
async function establish(api: Api, definition: Manifest): Promise<void> {
  await api.request('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', JSON.stringify(definition));
  const served = async (): Promise<boolean> => {
    await api.request('GET', `/apis/${GROUP}/v1/widgets?limit=1`);
    return true;
  };
  await waitUntil(served, { what: 'the custom resource definition to be established', intervalMs: 20 });
}

async function prepare(api: Api, { ours, raw }: Contenders, workload: ThroughputWorkload, signal: AbortSignal): Promise<void> {
  for (let round = 0; round < WARM_UPS; round += 1) {
    for (const { apply } of [ours, raw]) {
      const namespace = `bench-warm-up-${warmUps++}`;
      await api.createNamespace(namespace);
      await apply(workload.make(workload.count, namespace), signal);
    }
  }
}

let warmUps = 0;
