import { createHash, randomBytes } from 'node:crypto';
import { newestIn } from '../../lib/broadcast.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type {
  AgentConfigurationServer,
  ConfigurationRequest,
  ConfigurationResponse,
} from '../../proto/gen/gitlab/agent/agent_configuration/agent_configuration.ts';
import type { AgentConfiguration, ConfigurationSnapshot, ConfigurationSource } from '../agent-session/agent-configuration.ts';
import type { SessionReports } from '../agent-session/session-reports.ts';
import type { AgentAuthenticator } from '../agent-session/session-service.ts';
import type { AgentConnection, AgentTracker } from '../agent-tracker/agent-tracker.ts';
import type { AgentInfo } from '../registry/registry.ts';
import { type CallLife, liveCall } from './call-life.ts';
import { fromConfiguration } from './messages.ts';

export interface ConfigurationServiceDeps extends CallLife {
  readonly authenticator: AgentAuthenticator;
  readonly configurations: ConfigurationSource;
  readonly tracker: AgentTracker;
  readonly reports: SessionReports;
}

/** gitlab.agent.agent_configuration.rpc.AgentConfiguration, for agents of GitLab 13.8: their configuration, live. */
export function createAgentConfigurationService(handlers: Handlers, deps: ConfigurationServiceDeps): AgentConfigurationServer {
  async function* getConfiguration(
    request: ConfigurationRequest,
    context: CallContext,
  ): AsyncGenerator<ConfigurationResponse, void, void> {
    const { agent, token } = await deps.authenticator.connect(context.metadata, context.signal);
    const connection = newConnection(agent, request);
    const log = deps.log.child({ agent: agent.name, agentId: agent.id });
    await deps.tracker.add(connection);
    await deps.reports.connected(agent, connection.connectionId);
    log.info('Agent of GitLab 13.8 connected', { version: connection.meta.version });
    try {
      using call = liveCall(deps, agent, token, context.signal);
      yield* configurations(deps, agent, token, request.commitId, call.signal);
      call.throwIfFailed();
    } finally {
      await deps.tracker.remove(connection);
      await deps.reports.disconnected(agent, connection.connectionId);
      log.info('Agent of GitLab 13.8 disconnected');
    }
  }
  return { getConfiguration: handlers.serverStreaming(getConfiguration) };
}

/** The configurations that the agent does not have yet; ends when `signal` fires. */
async function* configurations(
  { configurations: source, reports }: ConfigurationServiceDeps,
  agent: AgentInfo,
  token: string,
  processed: string,
  signal: AbortSignal,
): AsyncGenerator<ConfigurationResponse, void, void> {
  let known = processed;
  for await (const snapshot of newestIn<ConfigurationSnapshot>(
    (subscriber) => source.subscribe(token, agent, subscriber),
    signal,
  )) {
    if (signal.aborted) return;
    await reports.configuration(agent, snapshot);
    const { configuration } = snapshot;
    if (configuration === undefined) continue;
    const version = versionOf(configuration);
    if (version === known) continue;
    known = version;
    yield { configuration: fromConfiguration(configuration, agent.id), commitId: version };
  }
}

/**
 * The agent hands the commit id back when it connects again. What people set over the file changes the configuration
 * without a commit, so it is part of the id then.
 */
function versionOf(configuration: AgentConfiguration): string {
  const held = configuration.units.filter(({ suspended }) => suspended).map(({ name }) => name);
  if (held.length === 0) return configuration.commitId;
  return `${configuration.commitId}-${createHash('sha256').update(JSON.stringify(held)).digest('hex').slice(0, 8)}`;
}

function newConnection(agent: AgentInfo, { agentMeta }: ConfigurationRequest): AgentConnection {
  const { version = '', commitId = '', podNamespace = '', podName = '' } = agentMeta ?? {};
  return {
    connectionId: randomBytes(8).readBigInt64BE() & 0x7fff_ffff_ffff_ffffn,
    agent,
    connectedAt: new Date(),
    meta: { version, commitId, podNamespace, podName, kubernetesVersion: '' },
  };
}
