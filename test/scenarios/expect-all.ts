import { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import type { Service } from '../harness/service.ts';
import { waitUntil } from '../harness/wait-until.ts';
import type { Agent } from './agent.ts';
import { type ClusterCheck, checkCluster, type Memory, remember } from './check-cluster.ts';
import { checkStatus } from './check-status.ts';
import { matchOf } from './faults.ts';
import type { Fleet } from './fleet.ts';
import type { LiveApi } from './live-api.ts';
import type { Expectation, RequestsExpectation } from './scenario-schema.ts';

const WITHIN_MS = 30_000;
const LOG_LINES = 30;
const NEVER = new AbortController().signal;

/** What there is to look at in a scenario. */
export interface Observable {
  readonly api: LiveApi;
  readonly namespace: string;
  readonly fleet: Fleet;
  readonly memory: Memory;
  /** The first agent when unnamed. */
  agent(name?: string): Agent;
  service(program: 'agentk' | 'kas' | 'gitserver', agent?: string): Service;
}

/** Waits until all that the step expects holds at the same time; the error lists what does not. */
export async function expectAll(expected: Expectation, run: Observable): Promise<void> {
  const agent = run.agent(expected.agent);
  let last: Findings | undefined;
  const holds = async (): Promise<Findings | undefined> => {
    last = await findings(expected, agent, run);
    return last.wrong.length === 0 ? last : undefined;
  };
  const timeoutMs = expected.within ?? WITHIN_MS;
  const found = await waitUntil(holds, { what: 'what the step expects', timeoutMs, intervalMs: 25 }).catch((error: Error) => {
    throw new Error([error.message, ...describe(last, agent)].join('\n'), { cause: error });
  });
  remember(run.memory, found.cluster);
}

interface Findings {
  readonly wrong: readonly string[];
  readonly unit: UnitStatus | undefined;
  readonly cluster: ClusterCheck;
}

async function findings(expected: Expectation, agent: Agent, run: Observable): Promise<Findings> {
  const wrong: string[] = [];
  let unit: UnitStatus | undefined;
  if (speaksOfUnit(expected)) {
    const name = expected.unit ?? agent.project.onlyUnit();
    unit = (await run.fleet.stack.api.units(NEVER)).find((one) => one.agentName === agent.tenant.agent.name && one.unit === name);
    if (unit === undefined) wrong.push(`the sync status has no unit "${name}"`);
    else wrong.push(...checkCommit(expected, agent, unit), ...checkStatus(expected, unit, run.namespace));
  }
  const cluster = await checkCluster(expected, run.api, run.memory);
  wrong.push(...cluster.wrong);
  for (const requests of expected.requests ?? [])
    wrong.push(...checkRequests(requests, run.agent(requests.agent ?? expected.agent)));
  for (const [program, pattern] of Object.entries(expected.log ?? {})) {
    const { lines } = run.service(program as 'agentk', expected.agent);
    if (!lines.some((line) => line.search(pattern) >= 0)) wrong.push(`${program} has not logged ${pattern}`);
  }
  return { wrong, unit, cluster };
}

const ABOUT_UNIT = [
  'unit',
  'commit',
  'phase',
  'reason',
  'message',
  'objects',
  'objects_include',
  'counts',
  'drifts',
  'problems',
] as const;

function speaksOfUnit(expected: Expectation): boolean {
  return ABOUT_UNIT.some((key) => expected[key] !== undefined);
}

function checkCommit({ commit }: Expectation, { project }: Agent, unit: UnitStatus): readonly string[] {
  if (commit === 'any') return [];
  const wanted = commit === undefined ? project.newest : project.idOf(commit);
  return unit.desiredCommitId === wanted ? [] : [`the status speaks of commit ${unit.desiredCommitId} instead of ${wanted}`];
}

function checkRequests(expected: RequestsExpectation, agent: Agent): readonly string[] {
  const { since, at_least: least, at_most: most } = expected;
  const count = agent.countRequests(matchOf(expected), since);
  const what = `${count} requests ${JSON.stringify(expected)}`;
  if (least !== undefined && count < least) return [`only ${what}`];
  return most !== undefined && count > most ? [`as many as ${what}`] : [];
}

function describe(last: Findings | undefined, { agentk }: Agent): readonly string[] {
  if (last === undefined) return [];
  const status = last.unit === undefined ? [] : [JSON.stringify(UnitStatus.toJSON(last.unit), undefined, 1).slice(0, 4_000)];
  const log = agentk.lines.slice(-LOG_LINES).map((line) => line.slice(0, 400));
  return [...last.wrong.slice(0, 20).map((text) => `- ${text}`), ...status, 'agentk:', ...log];
}
