import type { Repository } from '../../../kas/gitaly/gitaly-fixture.ts';
import { sleep } from '../../../lib/abort.ts';
import type { Figure } from '../figure.ts';
import { quantile } from '../statistics.ts';
import { Fleet } from './fleet.ts';
import { complete, configuration, MIB, manifest, mib, seconds, told } from './report.ts';

export interface ManyAgents {
  readonly agents: number;
  readonly simulators: number;
  readonly profiles: string | undefined;
  readonly progress: (line: string) => void;
}

const CONFIGURATIONS = 'fleet/configurations';
const MANIFESTS = 'fleet/app';
const UNIT = { name: 'app', project: MANIFESTS, glob: 'app/**/*.yaml' };
const OBJECTS = 20;
const CONNECTS_PER_SECOND = 1_000;
const CONNECT_TIMEOUT_MS = 120_000;
/** Longer than V8 takes to give back what a burst of work left behind. */
const SETTLE_MS = 20_000;
const IDLE_MS = 30_000;
const COMMIT_TIMEOUT_MS = 30_000;
const RECONNECT_TIMEOUT_MS = 120_000;
const ENOUGH_AGENTS = 1_000;
const KIB = 1 << 10;

/** Agents by the thousand with one unit: idle, at a commit, and after restarts of kas. */
export async function manyAgents(options: ManyAgents, signal: AbortSignal): Promise<readonly Figure[]> {
  const { agents: count, simulators, profiles, progress } = options;
  const agents = Array.from({ length: count }, (_, index) => ({ name: `cluster-${index}`, project: CONFIGURATIONS }));
  let manifests: Repository | undefined;
  progress(`${count} agents: git server and repositories`);
  await using fleet = await Fleet.start(
    { agents, projects: [CONFIGURATIONS, MANIFESTS], simulators, profiles },
    async (starting) => {
      const configurations = await starting.createRepository(CONFIGURATIONS);
      await configurations.push(
        Object.fromEntries(agents.map(({ name }) => [`.gitlab/agents/${name}/config.yaml`, configuration(name, [UNIT])])),
      );
      manifests = await starting.createRepository(MANIFESTS);
      await manifests.push(
        Object.fromEntries(Array.from({ length: OBJECTS }, (_, index) => [`app/${index}.yaml`, manifest(index, 0)])),
      );
    },
    signal,
  );
  if (manifests === undefined) throw new Error('no repository');
  const workload = `${count} agents`;
  const figures: Figure[] = [];
  await fleet.startKas(false, signal);
  figures.push(...(await idle(workload, fleet, options, signal)));
  figures.push(...(await commits(workload, fleet, manifests, options)));
  for (const tls of [false, true]) figures.push(...(await restart(workload, fleet, tls, options, signal)));
  return figures;
}

async function idle(workload: string, fleet: Fleet, { agents, progress }: ManyAgents, signal: AbortSignal): Promise<Figure[]> {
  await sleep(SETTLE_MS / 2, signal);
  const empty = (await fleet.kas.memory()).rss;
  const since = Date.now();
  fleet.simulators.start(fleet.credentials, CONNECTS_PER_SECOND);
  const outcome = await fleet.simulators.expect({ type: 'settled', since }, CONNECT_TIMEOUT_MS);
  complete(outcome, agents);
  progress(
    `all connected after ${seconds((outcome.reachedAt.at(-1) ?? 0) - since)}, ${(await fleet.kas.cpuSeconds()).toFixed(1)} s of processor time; ${told(outcome)}`,
  );
  await sleep(SETTLE_MS, signal);
  const cpu = await fleet.kas.cpuSeconds();
  await sleep(IDLE_MS, signal);
  const share = ((await fleet.kas.cpuSeconds()) - cpu) / (IDLE_MS / 1000);
  const { rss, peak } = await fleet.kas.memory();
  progress(`kas: ${mib(empty)} without agents, ${mib(rss)} with, ${mib(peak)} at most`);
  const name = `${workload}, idle`;
  const each = { workload: name, unit: 'KiB RSS of kas each', better: 'less', ours: (rss - empty) / agents / KIB } as const;
  return [
    // Few agents are charged with what kas takes for the first of them.
    agents < ENOUGH_AGENTS ? each : { ...each, target: { atMost: 100 } },
    { workload: name, unit: '% of a core', better: 'less', ours: share * 100, target: { atMost: 10 } },
  ];
}

async function commits(
  workload: string,
  fleet: Fleet,
  manifests: Repository,
  { agents, progress }: ManyAgents,
): Promise<Figure[]> {
  const { rss: before } = await fleet.kas.memory();
  fleet.kas.resetPeak();
  const cpu = await fleet.kas.cpuSeconds();
  const { commitId, at } = await push(fleet, manifests, 1);
  const outcome = await fleet.simulators.expect({ type: 'bundle', commitId }, COMMIT_TIMEOUT_MS);
  complete(outcome, agents);
  const { peak } = await fleet.kas.memory();
  const times = outcome.reachedAt.map((time) => time - at);
  const used = (await fleet.kas.cpuSeconds()) - cpu;
  progress(
    `the bundle: median ${seconds(quantile(times, 0.5))}, slowest 1 % from ${seconds(quantile(times, 0.99))} to ${seconds(times.at(-1) ?? 0)}, ${used.toFixed(1)} s of processor time; ${told(outcome)}`,
  );
  const name = `${workload}, one commit to a unit of all`;
  return [
    {
      workload: name,
      unit: 's to the last bundle',
      better: 'less',
      ours: (times.at(-1) ?? Number.NaN) / 1000,
      target: { atMost: 5 },
    },
    { workload: name, unit: 's to 99 %', better: 'less', ours: quantile(times, 0.99) / 1000 },
    { workload: name, unit: 'MiB that kas grows at most', better: 'less', ours: (peak - before) / MIB, target: { atMost: 200 } },
  ];
}

async function restart(
  workload: string,
  fleet: Fleet,
  tls: boolean,
  { agents, progress }: ManyAgents,
  signal: AbortSignal,
): Promise<Figure[]> {
  const since = Date.now();
  await fleet.startKas(tls, signal);
  progress(`kas is back after ${seconds(Date.now() - since)}`);
  const outcome = await fleet.simulators.expect({ type: 'settled', since }, RECONNECT_TIMEOUT_MS);
  complete(outcome, agents);
  const took = ((outcome.reachedAt.at(-1) ?? Number.NaN) - since) / 1000;
  const { rss, peak } = await fleet.kas.memory();
  progress(
    `all back after ${took.toFixed(1)} s, ${(await fleet.kas.cpuSeconds()).toFixed(1)} s of processor time, ${mib(rss)}, at most ${mib(peak)}; ${told(outcome)}`,
  );
  const name = `${workload}, kas restarted${tls ? ' with TLS' : ''}`;
  // Polls by the clock, lists, and reads of configurations that double in size: not a number of agents.
  const calls = await fleet.metric('kas_gitaly_calls_total');
  const questions = await fleet.metric('kas_registry_questions_total');
  return [
    { workload: name, unit: 's until all are back', better: 'less', ours: took, target: { atMost: 60 } },
    { workload: name, unit: 'calls to Gitaly', better: 'less', ours: calls, target: { atMost: 60 } },
    { workload: name, unit: 'questions to the registry, each', better: 'less', ours: questions / agents, target: { atMost: 4 } },
  ];
}

/** The time starts when the branch is about to move. */
async function push(fleet: Fleet, manifests: Repository, version: number): Promise<{ commitId: string; at: number }> {
  const commitId = await manifests.push({ 'app/0.yaml': manifest(0, version) }, 'next');
  const at = Date.now();
  await fleet.pushTo(MANIFESTS, 'next:main');
  return { commitId, at };
}
