import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { ApiReader } from '../harness/api-reader.ts';
import { WorkingCopy } from '../harness/git.ts';
import { Stack } from '../harness/stack.ts';
import { freeAddresses, type StackAddresses, type StackAgent, type StackSettings } from '../harness/stack-files.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Repository } from './repository.ts';

export interface LineOptions {
  readonly kubeconfigPath: string;
  readonly kubectlPath: string;
  readonly agentName?: string;
  /** The first has the agent's configuration. `e2e/app` when absent. */
  readonly projects?: readonly [string, ...string[]];
  readonly pollPeriodMs?: number;
  readonly addresses?: StackAddresses;
  readonly kasSeenByAgent?: string;
  readonly kasSeenByGitserver?: string;
  readonly gitSeenByKas?: string;
  /** Added to kas' configuration. */
  readonly kasYaml?: StackSettings['kasYaml'];
  /** For agentk, when something is between it and the cluster. */
  readonly agentKubeconfigPath?: string;
  readonly leaseDuration?: string;
}

const AGENT_NAME = 'e2e';
/** Far beyond the time of a test: what is seen sooner came by a notification. */
const POLL_PERIOD_MS = 60_000;
const NEVER = new AbortController().signal;

/** Kinds that the tests' units hold, as they are listed. */
const KINDS = [
  'api/v1/namespaces',
  'api/v1/configmaps',
  'api/v1/secrets',
  'api/v1/services',
  'api/v1/serviceaccounts',
  'apis/rbac.authorization.k8s.io/v1/roles',
  'apis/apps/v1/deployments',
];

/** Git server, kas, agentk, a cluster, and what a person has of them: a clone, kubectl, the sync status. */
export class Line implements AsyncDisposable {
  readonly stack: Stack;
  readonly agent: StackAgent;
  readonly addresses: StackAddresses;
  /** Where agentk keeps its inventories. */
  readonly agentNamespace: string;
  readonly cluster: ApiReader;
  readonly #options: LineOptions;
  readonly #directory: TempDir;
  #clones = 0;

  private constructor(options: LineOptions, directory: TempDir, stack: Stack, agent: StackAgent, addresses: StackAddresses) {
    this.#options = options;
    this.#directory = directory;
    this.stack = stack;
    this.agent = agent;
    this.addresses = addresses;
    this.agentNamespace = namespaceOf(agent);
    this.cluster = new ApiReader(options.kubeconfigPath);
  }

  /** Git server and kas run; agentk is started by the test, once the repository has content. */
  static async open(options: LineOptions): Promise<Line> {
    const directory = await createTempDir();
    // Tests of other files may work on the same cluster.
    const agent = { id: randomInt(1_001, 2 ** 31), name: options.agentName ?? AGENT_NAME };
    const addresses = options.addresses ?? (await freeAddresses());
    const stack = await Stack.open({
      directory: join(directory.path, 'stack'),
      kubeconfig: options.agentKubeconfigPath ?? options.kubeconfigPath,
      addresses,
      agent,
      agentNamespace: namespaceOf(agent),
      projects: options.projects ?? ['e2e/app'],
      pollPeriodMs: options.pollPeriodMs ?? POLL_PERIOD_MS,
      notifications: true,
      ...(options.kasSeenByAgent === undefined ? {} : { kasSeenByAgent: options.kasSeenByAgent }),
      ...(options.leaseDuration === undefined ? {} : { leaseDuration: options.leaseDuration }),
      ...(options.gitSeenByKas === undefined ? {} : { gitSeenByKas: options.gitSeenByKas }),
      ...(options.kasYaml === undefined ? {} : { kasYaml: options.kasYaml }),
      ...(options.kasSeenByGitserver === undefined ? {} : { kasSeenByGitserver: options.kasSeenByGitserver }),
    }).catch(async (error: unknown) => {
      await directory.remove();
      throw error;
    });
    return new Line(options, directory, stack, agent, addresses);
  }

  /** A clone of the project, by default the agent's. */
  async clone(project?: string, branch = 'main'): Promise<WorkingCopy> {
    this.#clones += 1;
    const url = project === undefined ? this.stack.cloneUrl : this.stack.cloneUrlOf(project);
    return await WorkingCopy.clone(url, join(this.#directory.path, `clone-${this.#clones}`), branch);
  }

  /** The agent's own project, with units that are added one by one. */
  async repository(defaultNamespace: string): Promise<Repository> {
    return new Repository(await this.clone(), this.agent.name, defaultNamespace);
  }

  async units(): Promise<readonly UnitStatus[]> {
    return await this.stack.api.units(NEVER);
  }

  /** Waits until the unit is as wished in what kas answers to RoR. The unit named '' is the configuration. */
  async unit(name: string, wish: (unit: UnitStatus) => unknown, what: string, timeoutMs = 20_000): Promise<UnitStatus> {
    let seen: UnitStatus | undefined;
    const find = async (): Promise<UnitStatus | undefined> => {
      seen = (await this.units()).find(({ unit }) => unit === name);
      return seen !== undefined && wish(seen) ? seen : undefined;
    };
    return await waitUntil(find, { timeoutMs, intervalMs: 20, what: `unit "${name}": ${what}` }).catch((error: Error) => {
      throw new Error(`${error.message}\n${seen === undefined ? '' : JSON.stringify(UnitStatus.toJSON(seen), undefined, 1)}`, {
        cause: error,
      });
    });
  }

  /** Waits until the newest commit of the unit is this one and the unit is in this phase with it. */
  async inPhase(name: string, phase: Phase, commit: string, timeoutMs?: number): Promise<UnitStatus> {
    const isThere = (unit: UnitStatus): boolean => unit.phase === phase && unit.desiredCommitId === commit;
    return await this.unit(name, isThere, `phase ${phase} at commit ${commit}`, timeoutMs);
  }

  /** Every object of the agent and its inventories with uid and resourceVersion: the same when nothing was written. */
  async footprint(): Promise<readonly string[]> {
    // What agentk notes of its own work may be written a while after it.
    const isNote = (name: string): boolean => /-state-\d+$/.test(name);
    const labelled = `?labelSelector=${encodeURIComponent(`kas.gitops/agent=${this.agent.id}`)}`;
    const paths = [...KINDS.map((kind) => `/${kind}${labelled}`), `/api/v1/namespaces/${this.agentNamespace}/configmaps`];
    const lists = await Promise.all(paths.map(async (path) => await this.cluster.list(path)));
    return lists
      .flatMap((objects, index) =>
        objects
          .filter(({ metadata }) => !isNote(metadata.name))
          .map(({ metadata }) =>
            [paths[index]?.split('?')[0], metadata.namespace, metadata.name, metadata.uid, metadata.resourceVersion].join(' '),
          ),
      )
      .toSorted();
  }

  async kubectl(...args: readonly string[]): Promise<string> {
    const { kubectlPath, kubeconfigPath } = this.#options;
    return (await promisify(execFile)(kubectlPath, ['--kubeconfig', kubeconfigPath, ...args])).stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack[Symbol.asyncDispose]();
    await this.kubectl('delete', 'namespace', this.agentNamespace, '--ignore-not-found', '--wait=false');
    this.cluster[Symbol.dispose]();
    await this.#directory.remove();
  }
}

function namespaceOf({ id }: StackAgent): string {
  return `agentk-${id}`;
}
