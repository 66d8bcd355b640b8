import { type UnavailableError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { LogFields } from '../../lib/log-fields.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import type { AgentConfiguration, ConfigurationSnapshot } from '../agent-session/agent-configuration.ts';
import type { Blob } from '../gitaly/gitaly-repository.ts';
import type { AgentInfo, ProjectInfo } from '../registry/registry.ts';
import type { CommitState } from './configuration-project.ts';
import { parseConfiguration } from './parse-configuration.ts';

export interface ConfigurationFollowerDeps {
  readonly maxFileBytes: number;
  readonly agent: AgentInfo;
  readonly publish: (snapshot: ConfigurationSnapshot) => void;
  readonly log: Logger;
}

/** Where an agent's configuration is in its project. */
export function configurationPath(agentName: string): string {
  return `.gitlab/agents/${agentName}/config.yaml`;
}

/** What an agent's file means, commit by commit. A good configuration stays until there is a newer good one. */
export class ConfigurationFollower {
  readonly #deps: ConfigurationFollowerDeps;
  #good: AgentConfiguration | undefined;
  #commitId: string | undefined;
  #published = '';

  constructor(deps: ConfigurationFollowerDeps) {
    this.#deps = deps;
  }

  /** The file at a commit; undefined when there is none. */
  file(file: Blob | undefined, state: CommitState, project: ProjectInfo): void {
    const problems = this.#problemsOf(file, project, state);
    this.#commitId = state.commitId;
    this.#publish(problems, project);
  }

  /** The repository cannot be read. */
  problem(problem: SourceProblem, project: ProjectInfo): void {
    this.#publish([problem], project);
  }

  /** The registry does not say where the configuration is. */
  unavailable(error: UnavailableError | UserError): void {
    const reason = error instanceof UserError ? error.reason : 'RegistryUnavailable';
    this.#publish([{ severity: 'error', reason, message: error.message }]);
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
    log.info('New configuration', {
      ...this.#agentFields(),
      project: project.path,
      ref,
      commit: commitId,
      count: configuration.units.length,
    });
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
      ...this.#agentFields(),
      ...(project === undefined ? {} : { project: project.path }),
      ...(this.#commitId === undefined ? {} : { commit: this.#commitId }),
      count: problems.length,
      reason,
      detail: message,
      ...(file === undefined ? {} : { file }),
      ...(line === undefined ? {} : { line }),
    });
  }

  #agentFields(): LogFields {
    const { id, name } = this.#deps.agent;
    return { agent: name, agentId: id };
  }
}

function branchOf(ref: string): string {
  return ref.startsWith('refs/heads/') ? `branch "${ref.slice('refs/heads/'.length)}"` : ref;
}
