import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LightAgent } from '../../compatibility/light-agent.ts';
import { commitStory } from '../../compatibility/story.ts';
import { initBareRepository } from '../../harness/git.ts';
import { createTempDir } from '../../harness/temp-dir.ts';
import type { Bench, Figure } from '../figure.ts';
import { freePorts, writeFleet } from '../fleet/fleet-files.ts';
import { MeasuredProgram } from '../fleet/measured-program.ts';
import { quantile } from '../statistics.ts';

const WANTED_SECONDS = 20;

/**
 * Agents of GitLab 13.8, each with a token and a connection of its own, that all ask for their configuration at once:
 * `npm run bench -- gitlab [--agents 2000] [--projects 200]`.
 */
export const run: Bench = async ({ args, progress }, signal) => {
  const options = { agents: { type: 'string', default: '2000' }, projects: { type: 'string', default: '200' } } as const;
  const { values } = parseArgs({ args: [...args], options });
  const [count, projectCount] = [Number(values.agents), Number(values.projects)];
  await using folder = await createTempDir();
  const projects = Array.from({ length: projectCount }, (_, index) => `agents/project-${index}`);
  const agents = Array.from({ length: count }, (_, index) => ({
    name: `agent-${index}`,
    project: projects[index % projectCount] ?? '',
  }));
  const ports = await freePorts();
  const credentials = await writeFleet({ folder: folder.path, ports, agents, projects, pollPeriod: '20s' });
  progress(`${projectCount} projects with the configurations of ${count} agents`);
  for (const project of projects) await fill(join(folder.path, 'repositories', `${project}.git`), agents, project);
  const at = (name: string): string => join(folder.path, name);
  const start = (main: string, config: string, log: string, ready: RegExp) =>
    MeasuredProgram.start(main, ['serve', '--config', at(config)], at(log), ready, signal);
  await using gitserver = await start('kas/gitserver/main.ts', 'gitserver.yaml', 'gitserver.log', /"msg":"Ready"/);
  await using kas = await start('kas/main.ts', 'kas.yaml', 'kas.log', /"msg":"kas is ready"/);
  progress('all of them connect');
  const startedAt = performance.now();
  const clients = credentials.map(({ token }) => new LightAgent(`127.0.0.1:${ports.agents}`, token));
  try {
    const outcomes = await Promise.allSettled(clients.map(({ configured }) => configured));
    const seconds = (performance.now() - startedAt) / 1000;
    const waits = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    for (const outcome of outcomes) if (outcome.status === 'rejected') progress(String(outcome.reason));
    const cpu = { kas: await kas.cpuSeconds(), gitserver: await gitserver.cpuSeconds() };
    return figures(count, waits, seconds, cpu);
  } finally {
    for (const client of clients) client[Symbol.dispose]();
  }
};

async function fill(repository: string, agents: readonly { name: string; project: string }[], project: string): Promise<void> {
  await initBareRepository(repository);
  const own = agents.filter((agent) => agent.project === project);
  const files = own.map(
    ({ name }) => [`.gitlab/agents/${name}/config.yaml`, 'observability: {logging: {level: warn}}\n'] as const,
  );
  await commitStory(repository, [Object.fromEntries(files)], 0);
}

function figures(
  count: number,
  waits: readonly number[],
  seconds: number,
  cpu: { readonly kas: number; readonly gitserver: number },
): readonly Figure[] {
  const workload = `${count} agents of 13.8 ask for their configuration`;
  return [
    { workload, unit: 'have it', better: 'more', ours: waits.length, target: { atLeast: count } },
    { workload, unit: 's until the last has it', better: 'less', ours: seconds, target: { atMost: WANTED_SECONDS } },
    { workload, unit: 'ms p50', better: 'less', ours: quantile(waits, 0.5) },
    { workload, unit: 's of CPU, kas', better: 'less', ours: cpu.kas },
    { workload, unit: 's of CPU, git server', better: 'less', ours: cpu.gitserver },
  ];
}
