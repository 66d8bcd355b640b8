import type { TestCluster } from '../harness/cluster.ts';
import { Fleet } from './fleet.ts';
import { type Placeholders, readScenario } from './scenario-file.ts';
import { type OwnCluster, ScenarioRun } from './scenario-run.ts';
import type { Scenario } from './scenario-schema.ts';

export interface SuiteCluster extends Pick<TestCluster, 'kubeconfigPath' | 'namespace'> {
  readonly own?: OwnCluster;
}

/** A scenario's file with its title, read once before there is a namespace to put into it. */
export interface ScenarioEntry {
  readonly file: string;
  readonly scenario: Scenario;
}

const NOT_YET: Placeholders = { namespace: 'test-0', agent: '1', other: '2' };
const START_TIMEOUT_MS = 120_000;

/** Scenarios whose file name begins with one of the prefixes. @throws UserError naming file, line and key */
export async function scenarios(files: readonly string[], ...prefixes: readonly string[]): Promise<readonly ScenarioEntry[]> {
  const chosen = files.filter((file) => prefixes.some((prefix) => file.startsWith(`${prefix}-`)));
  return await Promise.all(chosen.map(async (file) => ({ file, scenario: await readScenario(file, NOT_YET) })));
}

/** Makes a test of every scenario; they share git server and kas, and each has agents and a namespace of its own. */
export function runScenarios(entries: readonly ScenarioEntry[], cluster: SuiteCluster): void {
  const agents = entries.reduce((sum, { scenario }) => sum + scenario.agents.length, 0);
  let fleet: Fleet;

  beforeAll(async () => {
    fleet = await Fleet.open(cluster.kubeconfigPath, agents);
  }, START_TIMEOUT_MS);

  afterAll(async () => {
    await fleet[Symbol.asyncDispose]();
  });

  for (const { file, scenario } of entries) {
    it(
      scenario.name,
      async () => {
        const namespace = await cluster.namespace();
        const { kubeconfigPath, own } = cluster;
        const options = { fleet, kubeconfigPath, namespace, ...(own === undefined ? {} : { ownCluster: own }) };
        await using run = await ScenarioRun.open(scenario, options);
        const { steps } = await readScenario(file, placeholders(namespace, run, scenario));
        for (const [index, step] of steps.entries()) {
          await run.step(step).catch((error: Error) => {
            const action = Object.keys(step).join();
            throw new Error(`${file}, step ${index + 1} (${action}): ${error.message}`, { cause: error });
          });
        }
      },
      scenario.timeout,
    );
  }
}

function placeholders(namespace: string, run: ScenarioRun, { agents }: Scenario): Placeholders {
  const id = (name: string | undefined): string => (name === undefined ? '' : String(run.agent(name).tenant.agent.id));
  return { namespace, agent: id(agents[0]), other: id(agents[1]) };
}
