import { sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { type UnavailableError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import type { AgentConfiguration, ConfigurationSnapshot } from '../agent-session/agent-configuration.ts';
import { forNewest } from '../change-detection/for-newest.ts';
import { type RefState, repositoryProblem } from '../change-detection/ref-state.ts';
import type { RefWatcher } from '../change-detection/ref-watcher.ts';
import type { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import type { Blob } from '../gitaly/gitaly-repository.ts';
import type { AgentInfo, ProjectInfo } from '../registry/registry.ts';
import { requireCommit } from '../units/list-files.ts';
import { parseConfiguration } from './parse-configuration.ts';

export interface ConfigurationFollowerDeps {
  readonly refs: RefWatcher;
  readonly gitaly: GitalyClientPool;
  readonly pollPeriodMs: number;
  readonly maxFileBytes: number;
  readonly agent: AgentInfo;
  readonly publish: (snapshot: ConfigurationSnapshot) => void;
  readonly log: Logger;
}

type CommitState = Extract<RefState, { kind: 'commit' }>;

const RETRY = { initialMs: 500, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };

/** Where an agent's configuration is in its project. */
export function configurationPath(agentName: string): string {
  return `.gitlab/agents/${agentName}/config.yaml`;
}

/** Follows the configuration of one agent. A good one stays until there is a newer good one. */
export class ConfigurationFollower {
  readonly #deps: ConfigurationFollowerDeps;
  #good: AgentConfiguration | undefined;
  #commitId: string | undefined;
  /** What was published of `#commitId`. */
  #read: readonly SourceProblem[] | undefined;
  #published = '';

  constructor(deps: ConfigurationFollowerDeps) {
    this.#deps = deps;
  }

  /** Runs until `signal` fires, and then returns; rejects on a fault of ours. */
  async follow(project: ProjectInfo, signal: AbortSignal): Promise<void> {
    const { refs, pollPeriodMs } = this.#deps;
    this.#read = undefined;
    await forNewest(
      (scope) => refs.watchRef(project.location, undefined, pollPeriodMs, scope),
      async (state, scope) => {
        if (state.kind === 'problem') this.#publish([state.problem], project);
        else await this.#readAt(project, state, scope);
      },
      signal,
    );
  }

  /** The registry does not say where the configuration is. */
  unavailable(error: UnavailableError | UserError): void {
    const reason = error instanceof UserError ? error.reason : 'RegistryUnavailable';
    this.#publish([{ severity: 'error', reason, message: error.message }]);
  }

  async #readAt(project: ProjectInfo, state: CommitState, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(RETRY);
    if (this.#read !== undefined && this.#commitId === state.commitId) {
      this.#publish(this.#read, project);
      return;
    }
    while (!signal.aborted) {
      try {
        const file = await this.#fileAt(project, state.commitId, signal);
        signal.throwIfAborted();
        const problems = this.#problemsOf(file, project, state);
        this.#commitId = state.commitId;
        this.#read = problems;
        this.#publish(problems, project);
        return;
      } catch (error) {
        if (signal.aborted) return;
        const problem = repositoryProblem(error);
        if (problem === undefined) throw error;
        this.#publish([problem], project);
        await sleep(backoff.next(), signal).catch(() => undefined);
      }
    }
  }

  /** Undefined only when it is certain that the commit has no such file. */
  async #fileAt(project: ProjectInfo, commitId: string, signal: AbortSignal): Promise<Blob | undefined> {
    const { gitaly, agent, maxFileBytes } = this.#deps;
    const repository = gitaly.repository(project.location);
    const read = (): Promise<Blob | undefined> => repository.file(commitId, configurationPath(agent.name), maxFileBytes, signal);
    const file = await read();
    if (file !== undefined) return file;
    await requireCommit(repository, commitId, signal);
    return await read();
  }

  /** Takes over the configuration at a commit, if it is good. */
  #problemsOf(file: Blob | undefined, project: ProjectInfo, { ref, commitId }: CommitState): readonly SourceProblem[] {
    const { agent, maxFileBytes, log } = this.#deps;
    const path = configurationPath(agent.name);
    if (file === undefined) {
      const message = `${path} does not exist on ${branchOf(ref)} of project ${project.path}: commit it there. An empty file will do.`;
      return [{ severity: 'error', reason: 'ConfigurationNotFound', message, file: path }];
    }
    if (file.data === undefined) {
      const message = `${path} has ${file.sizeBytes} bytes, ${maxFileBytes} are allowed: make it smaller, or raise max_configuration_file_size in kas's configuration.`;
      return [{ severity: 'error', reason: 'FileTooLarge', message, file: path }];
    }
    const { configuration, problems } = parseConfiguration(file.data, path, project.path, commitId);
    if (configuration === undefined) return problems;
    this.#good = configuration;
    log.info('New configuration', { project: project.path, ref, commit: commitId, count: configuration.units.length });
    return [];
  }

  #publish(problems: readonly SourceProblem[], project?: ProjectInfo): void {
    const snapshot = { commitId: this.#commitId, configuration: this.#good, problems };
    const key = JSON.stringify([
      snapshot.commitId,
      this.#good?.commitId,
      problems.map(({ reason, file, line }) => [reason, file, line]),
    ]);
    if (key === this.#published) return;
    this.#published = key;
    this.#deps.publish(snapshot);
    const [first] = problems;
    if (first === undefined) return;
    const { reason, message, file, line } = first;
    this.#deps.log.warn('Configuration has problems, the last good one stays', {
      ...(project === undefined ? {} : { project: project.path }),
      ...(this.#commitId === undefined ? {} : { commit: this.#commitId }),
      count: problems.length,
      reason,
      detail: message,
      ...(file === undefined ? {} : { file }),
      ...(line === undefined ? {} : { line }),
    });
  }
}

function branchOf(ref: string): string {
  return ref.startsWith('refs/heads/') ? `branch "${ref.slice('refs/heads/'.length)}"` : ref;
}
