import { sleep } from '../../../lib/abort.ts';
import type { Figure } from '../figure.ts';
import { median } from '../statistics.ts';
import { Fleet } from './fleet.ts';
import { complete, configuration, manifest, seconds } from './report.ts';

export interface Monorepo {
  readonly profiles: string | undefined;
  readonly progress: (line: string) => void;
}

const CONFIGURATIONS = 'fleet/configurations';
const MONOREPO = 'fleet/monorepo';
const UNITS = 100;
const FILES_PER_UNIT = 50;
const ROUNDS = 15;
const TIMEOUT_MS = 60_000;
/** After which nothing more comes of a commit. */
const QUIET_MS = 500;

/** A repository with many units, in which one file changes: what is read, rendered and sent, and how long it takes. */
export async function monorepo({ profiles, progress }: Monorepo, signal: AbortSignal): Promise<readonly Figure[]> {
  const agents = [{ name: 'cluster', project: CONFIGURATIONS }];
  const units = Array.from({ length: UNITS }, (_, index) => ({
    name: `unit-${index}`,
    project: MONOREPO,
    glob: `units/${index}/**/*.yaml`,
  }));
  progress(`a repository of ${UNITS * FILES_PER_UNIT} files and ${UNITS} units`);
  let repository: Awaited<ReturnType<Fleet['createRepository']>> | undefined;
  await using fleet = await Fleet.start(
    { agents, projects: [CONFIGURATIONS, MONOREPO], simulators: 1, profiles },
    async (starting) => {
      const configurations = await starting.createRepository(CONFIGURATIONS);
      await configurations.push({ '.gitlab/agents/cluster/config.yaml': configuration('monorepo', units) });
      repository = await starting.createRepository(MONOREPO);
      const files = units.flatMap((_, unit) =>
        Array.from({ length: FILES_PER_UNIT }, (__, index) => [path(unit, index), manifest(unit * 1_000 + index, 0)] as const),
      );
      await repository.push(Object.fromEntries(files));
    },
    signal,
  );
  await fleet.startKas(false, signal);
  const since = Date.now();
  fleet.simulators.start(fleet.credentials, 1);
  complete(await fleet.simulators.expect({ type: 'settled', since }, TIMEOUT_MS), 1);
  const rounds: Round[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    const unit = (round * 37) % UNITS;
    const commitId = (await repository?.push({ [path(unit, 7)]: manifest(unit * 1_000 + 7, round) }, 'next')) ?? '';
    rounds.push(await measure(fleet, commitId, `unit-${unit}`, signal));
  }
  const times = rounds.map(({ ms }) => ms);
  progress(`from ${seconds(Math.min(...times))} to ${seconds(Math.max(...times))}`);
  const most = (key: 'blobs' | 'rendered' | 'objects'): number => Math.max(...rounds.map((round) => round[key]));
  const workload = `monorepo of ${UNITS * FILES_PER_UNIT} files and ${UNITS} units, one file changed`;
  return [
    { workload, unit: 'blobs read', better: 'less', ours: most('blobs'), target: { atMost: 1 } },
    { workload, unit: 'units rendered', better: 'less', ours: most('rendered'), target: { atMost: 1 } },
    { workload, unit: 'objects sent', better: 'less', ours: most('objects'), target: { atMost: 1 } },
    { workload, unit: 'ms commit to push p50', better: 'less', ours: median(times), target: { atMost: 300 } },
  ];
}

interface Round {
  readonly ms: number;
  readonly blobs: number;
  readonly rendered: number;
  readonly objects: number;
}

async function measure(fleet: Fleet, commitId: string, unit: string, signal: AbortSignal): Promise<Round> {
  // What was counted until now is of earlier commits.
  await fleet.simulators.expect({ type: 'settled', since: 0 }, TIMEOUT_MS);
  const counted = async () => ({
    blobs: await fleet.metric('kas_gitaly_blobs_read_total'),
    rendered: await fleet.metric('kas_units_rendered_total'),
  });
  const before = await counted();
  const at = Date.now();
  await fleet.pushTo(MONOREPO, 'next:main');
  const first = await fleet.simulators.expect({ type: 'bundle', commitId, unit }, TIMEOUT_MS);
  if (first.reachedAt[0] === undefined) throw new Error('the commit did not come through');
  await sleep(QUIET_MS, signal);
  const rest = await fleet.simulators.expect({ type: 'bundle', commitId, unit }, TIMEOUT_MS);
  const after = await counted();
  return {
    ms: first.reachedAt[0] - at,
    blobs: after.blobs - before.blobs,
    rendered: after.rendered - before.rendered,
    objects: first.contents + rest.contents,
  };
}

function path(unit: number, index: number): string {
  return `units/${unit}/${index % 5}/${index}.yaml`;
}
