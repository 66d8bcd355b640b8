import { sleep } from '../../../lib/abort.ts';
import type { Figure } from '../figure.ts';
import { quantile } from '../statistics.ts';
import { Fleet } from './fleet.ts';
import { complete, configuration, manifest, seconds } from './report.ts';

export interface ManyRepositories {
  readonly repositories: number;
  readonly profiles: string | undefined;
  readonly progress: (line: string) => void;
}

const CONFIGURATIONS = 'fleet/configurations';
const TEMPLATE = 'fleet/template';
const UNITS_PER_AGENT = 100;
const CONNECT_TIMEOUT_MS = 120_000;
const SETTLE_MS = 5_000;
/** Two periods. */
const POLLED_MS = 40_000;
const PUSHES = 200;
const PUSH_TIMEOUT_MS = 30_000;

/** Many repositories, each with a unit of its own: what polling them costs, and how fast a push comes through. */
export async function manyRepositories(options: ManyRepositories, signal: AbortSignal): Promise<readonly Figure[]> {
  const { repositories: count, profiles, progress } = options;
  const projects = Array.from({ length: count }, (_, index) => `teams/app-${index}`);
  const agents = Array.from({ length: Math.ceil(count / UNITS_PER_AGENT) }, (_, index) => ({
    name: `cluster-${index}`,
    project: CONFIGURATIONS,
  }));
  progress(`${count} repositories`);
  let next = '';
  await using fleet = await Fleet.start(
    { agents, projects: [CONFIGURATIONS, ...projects], simulators: 1, profiles },
    async (starting) => {
      next = await fill(starting, agents, projects);
    },
    signal,
  );
  await fleet.startKas(false, signal);
  const since = Date.now();
  fleet.simulators.start(fleet.credentials, 100);
  complete(await fleet.simulators.expect({ type: 'settled', since }, CONNECT_TIMEOUT_MS), agents.length);
  progress(`all units of ${agents.length} agents are there after ${seconds(Date.now() - since)}`);
  await sleep(SETTLE_MS, signal);
  const [cpu, polls] = [await fleet.kas.cpuSeconds(), await fleet.metric('kas_repository_polls_total')];
  await sleep(POLLED_MS, signal);
  const share = ((await fleet.kas.cpuSeconds()) - cpu) / (POLLED_MS / 1000);
  const polled = ((await fleet.metric('kas_repository_polls_total')) - polls) / (POLLED_MS / 1000);
  progress(`${polled.toFixed(1)} polls a second`);
  if (polled < (count / 20) * 0.8) throw new Error(`only ${polled} polls a second`);
  const times = await pushes(fleet, projects, next, signal);
  progress(`pushes: median ${seconds(quantile(times, 0.5))}, slowest ${seconds(times.at(-1) ?? 0)}`);
  const workload = `${count} repositories polled every 20 s`;
  return [
    { workload, unit: '% of a core', better: 'less', ours: share * 100, target: { atMost: 30 } },
    { workload, unit: 's commit to push p99', better: 'less', ours: quantile(times, 0.99) / 1000, target: { atMost: 1 } },
  ];
}

/** Makes all repositories alike; the commit that the branch `next` of each is at. */
async function fill(fleet: Fleet, agents: readonly { readonly name: string }[], projects: readonly string[]): Promise<string> {
  const template = await fleet.createRepository(TEMPLATE);
  await template.push({ 'app/0.yaml': manifest(0, 0), 'app/1.yaml': manifest(1, 0), 'README.md': 'app' });
  const next = await template.push({ 'app/0.yaml': manifest(0, 1) }, 'next');
  for (const project of projects) await fleet.copyRepository(TEMPLATE, project);
  const configurations = await fleet.createRepository(CONFIGURATIONS);
  const files = agents.map(({ name }, index) => {
    const mine = projects.slice(index * UNITS_PER_AGENT, (index + 1) * UNITS_PER_AGENT);
    const units = mine.map((project) => ({ name: project.replace('/', '-'), project, glob: 'app/**/*.yaml' }));
    return [`.gitlab/agents/${name}/config.yaml`, configuration(name, units)] as const;
  });
  await configurations.push(Object.fromEntries(files));
  return next;
}

/** Milliseconds from before each push until its bundle was at the agent, sorted. */
async function pushes(fleet: Fleet, projects: readonly string[], commitId: string, signal: AbortSignal): Promise<number[]> {
  const times: number[] = [];
  const count = Math.min(PUSHES, projects.length);
  for (let index = 0; index < count; index += 1) {
    signal.throwIfAborted();
    const project = projects[Math.floor((index * projects.length) / count)] ?? '';
    const at = Date.now();
    await fleet.pushTo(project, 'next:main');
    const unit = project.replace('/', '-');
    const { reachedAt } = await fleet.simulators.expect({ type: 'bundle', commitId, unit }, PUSH_TIMEOUT_MS);
    if (reachedAt[0] === undefined) throw new Error(`the push to ${project} did not come through`);
    times.push(reachedAt[0] - at);
  }
  return times.sort((a, b) => a - b);
}
