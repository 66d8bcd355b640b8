import { UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type {
  AgentConfigFile,
  ConfigurationProjectServer,
  ListAgentConfigFilesRequest,
  ListAgentConfigFilesResponse,
} from '../../proto/gen/gitlab/agent/configuration_project/rpc.ts';
import type { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import type { GitalyRepository } from '../gitaly/gitaly-repository.ts';
import { resolveRef } from '../gitaly/resolve-ref.ts';
import type { RepositoryLocation } from '../registry/registry.ts';
import { AGENT_NAME } from '../registry/registry-file.ts';
import type { ApiAuth } from './api-auth.ts';

const FOLDER = '.gitlab/agents';

/** gitlab.agent.configuration_project.rpc.ConfigurationProject: the agents' configuration files of a project. */
export function createConfigurationProjectService(
  handlers: Handlers,
  auth: ApiAuth,
  gitaly: GitalyClientPool,
): ConfigurationProjectServer {
  async function listAgentConfigFiles(
    request: ListAgentConfigFilesRequest,
    { metadata, signal }: CallContext,
  ): Promise<ListAgentConfigFilesResponse> {
    await auth.authenticate(metadata);
    const repository = gitaly.repository(toLocation(request));
    const commitId = await commitOf(repository, request.defaultBranch, signal);
    const files = commitId === undefined ? undefined : await repository.files(commitId, FOLDER, true, signal);
    return { configFiles: (files ?? []).flatMap(({ path }) => toConfigFile(path)) };
  }
  return { listAgentConfigFiles: handlers.unary(listAgentConfigFiles) };
}

function toLocation({ repository, gitalyInfo }: ListAgentConfigFilesRequest): RepositoryLocation {
  if (repository === undefined || gitalyInfo === undefined) throw new UserError('repository and gitaly_info are both needed');
  const { storageName, relativePath, glRepository, glProjectPath } = repository;
  const { address, token, features } = gitalyInfo;
  return { gitaly: { address, token, features }, storageName, relativePath, glRepository, glProjectPath };
}

/** Undefined for a repository without commits. */
async function commitOf(repository: GitalyRepository, branch: string, signal: AbortSignal): Promise<string | undefined> {
  const advertised = await repository.refs(signal);
  if (advertised.refs.size === 0) return undefined;
  const resolved = resolveRef(advertised, branch === '' ? undefined : `refs/heads/${branch}`);
  if (resolved !== undefined) return resolved.commitId;
  const name = await repository.defaultBranch(signal);
  return name === undefined ? undefined : resolveRef(advertised, name)?.commitId;
}

function toConfigFile(path: string): AgentConfigFile[] {
  const agentName = /^\.gitlab\/agents\/([^/]+)\/config\.yaml$/.exec(path)?.[1];
  return agentName !== undefined && AGENT_NAME.test(agentName) ? [{ name: path, agentName }] : [];
}
