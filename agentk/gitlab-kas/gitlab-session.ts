import { AbortScope, abortable } from '../../lib/abort.ts';
import { createBundle } from '../../lib/bundle.ts';
import { UserError } from '../../lib/errors.ts';
import { callServerStream } from '../../lib/grpc/call.ts';
import type { Logger } from '../../lib/log.ts';
import { renderPlain } from '../../lib/manifests/render-plain.ts';
import { selectFiles } from '../../lib/manifests/select-files.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import { VERSION } from '../../lib/version.ts';
import {
  AgentConfigurationClient,
  type ConfigurationResponse,
} from '../../proto/gen/gitlab/agent/agent_configuration/agent_configuration.ts';
import type { AgentMeta } from '../../proto/gen/gitlab/agent/modshared/modshared.ts';
import type { GitlabAccess } from '../gitlab-access/gitlab-access.ts';
import type { Engine } from '../gitops/unit.ts';
import { gitlabCallsOf } from '../session/gitlab-calls.ts';
import type { KasChannel } from '../session/kas-channel.ts';
import type { AgentIdentity, ConnectionEvents, OlderProtocol } from '../session/kas-session.ts';
import type { MadeIdentity } from './agent-identity.ts';
import { logLevelOf, type ProjectUnit, unitsOf } from './gitlab-configuration.ts';
import { ProjectStreams } from './project-streams.ts';
import type { ReceivedFiles } from './received-files.ts';
import type { UnitSettings } from './unit-settings.ts';

export interface GitlabSessionDeps {
  /** Opens a new connection. */
  readonly open: () => Promise<KasChannel>;
  /** Where the agent runs. */
  readonly meta: Omit<AgentMeta, 'version'>;
  /** Who the agent is, given the id that kas says, 0 when it says none. */
  readonly identify: (agentId: number, signal: AbortSignal) => Promise<MadeIdentity>;
  /** The engine; it exists only after the identity is known. */
  readonly engine: Promise<Engine>;
  readonly settings: UnitSettings;
  readonly gitlabAccess: Pick<GitlabAccess, 'attach'>;
  readonly log: Logger;
}

/**
 * The agent's side of the protocol of GitLab 13.8: the configuration and the files of each project, from a kas that knows
 * nothing else. The files are decoded here, and nothing is reported, since such a kas takes no reports. It remembers what it
 * received, so that the next connection goes on from there.
 */
export class GitlabSession implements OlderProtocol {
  readonly #deps: GitlabSessionDeps;
  readonly #processed = new Map<string, string>();
  #configurationCommit = '';
  #units: readonly ProjectUnit[] = [];
  #known = false;

  constructor(deps: GitlabSessionDeps) {
    this.#deps = deps;
  }

  async run({ connected, identified }: ConnectionEvents, signal: AbortSignal): Promise<void> {
    using scope = new AbortScope(signal);
    using channel = await this.#deps.open();
    const { gitlabAccess, log } = this.#deps;
    const openGitlabCall = gitlabCallsOf(channel);
    const onFiles = (unit: ProjectUnit, received: ReceivedFiles): Promise<void> => this.#submit(unit, received, scope.signal);
    const streams = new ProjectStreams({ channel, processed: this.#processed, onFiles, log }, scope.signal);
    streams.configure(this.#units);
    try {
      for await (const response of this.#configurations(channel, scope.signal)) {
        connected();
        gitlabAccess.attach(openGitlabCall, scope.signal);
        identified(await this.#identify(Number(response.configuration?.agentId ?? 0n), scope.signal));
        await this.#configure(response, streams, scope.signal);
      }
    } finally {
      scope.abort(new DOMException('The connection has ended', 'AbortError'));
      await streams.stopped();
    }
  }

  async #identify(told: number, signal: AbortSignal): Promise<AgentIdentity> {
    const { id, name, made } = await this.#deps.identify(told, signal);
    if (!this.#known) this.#deps.log.info('Connected to kas', { agent: name, agentId: id });
    if (made && !this.#known) {
      const detail =
        'kas does not say it; set --agent-id to what GitLab shows, or another kas takes the objects for those of another agent';
      this.#deps.log.warn("The agent's id was made from the cluster", { agentId: id, detail });
    }
    this.#known = true;
    return { id, name };
  }

  #configurations(channel: KasChannel, signal: AbortSignal): AsyncIterable<ConfigurationResponse> {
    const agentMeta = { version: VERSION, ...this.#deps.meta };
    const client = new AgentConfigurationClient(channel.target, channel.credentials, channel.options);
    const request = { commitId: this.#configurationCommit, agentMeta };
    return callServerStream(client.getConfiguration.bind(client), request, { metadata: channel.metadata }, signal);
  }

  async #configure(response: ConfigurationResponse, streams: ProjectStreams, signal: AbortSignal): Promise<void> {
    const { configuration, commitId } = response;
    if (configuration === undefined || commitId === '') throw new Error('kas sent a configuration without its commit');
    const { settings, log } = this.#deps;
    this.#configurationCommit = commitId;
    log.setLevel(logLevelOf(configuration));
    let units: readonly ProjectUnit[];
    try {
      units = unitsOf(configuration, settings);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      log.error('Configuration refused; the one before stays', { commit: commitId, reason: error.reason, detail: error.message });
      return;
    }
    const engine = await abortable(this.#deps.engine, signal);
    log.info('Configuration received', { commit: commitId, count: units.length });
    this.#units = units;
    engine.configure({ commitId, units, healthRules: settings.healthRules });
    streams.configure(units);
  }

  async #submit(unit: ProjectUnit, { commitId, files }: ReceivedFiles, signal: AbortSignal): Promise<void> {
    const { objects, problems } = renderPlain(files, unit);
    const wrong = problems.filter(({ severity }) => severity === 'error');
    this.#logProblems(unit, commitId, wrong.length > 0 ? wrong : problems);
    if (wrong.length > 0) return;
    if (objects.length === 0) {
      const detail = 'the files hold no object; nothing is removed for that';
      this.#deps.log.warn('Unit has problems', { unit: unit.name, commit: commitId, reason: 'NothingToApply', detail });
      return;
    }
    const engine = await abortable(this.#deps.engine, signal);
    this.#deps.log.info('Objects received', { unit: unit.name, commit: commitId, objects: objects.length });
    engine.submit({
      unit: unit.name,
      project: unit.project,
      commitId,
      bundle: createBundle(objects),
      detectedAt: new Date(),
      // Releases before 13.12 find nothing for globs such as `folder/*.yaml`.
      incomplete: selectFiles(unit.globs, files).unmatched.length > 0,
      sourceId: unit.sourceId,
    });
  }

  /** kas cannot be told: this line is all that people see. */
  #logProblems(unit: ProjectUnit, commit: string, problems: readonly SourceProblem[]): void {
    const [first] = problems;
    if (first === undefined) return;
    const { severity, reason, message, file, line, object } = first;
    this.#deps.log[severity === 'error' ? 'error' : 'warn']('Unit has problems', {
      unit: unit.name,
      commit,
      count: problems.length,
      reason,
      detail: message,
      ...(file === undefined ? {} : { file }),
      ...(line === undefined ? {} : { line }),
      ...(object === undefined ? {} : { object }),
    });
  }
}
