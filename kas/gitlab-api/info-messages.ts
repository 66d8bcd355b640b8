import { z } from 'zod';
import type { AgentInfo, ProjectInfo, RepositoryLocation } from '../registry/registry.ts';

/** What GitLab's internal API says of agents and projects. Keys that are not named here are ignored. */

const gitalyInfo = z.object({
  address: z.string().min(1),
  token: z.string().nullish(),
  features: z.record(z.string(), z.string()).nullish(),
});

const gitalyRepository = z.object({
  storage_name: z.string().min(1),
  relative_path: z.string().min(1),
  gl_repository: z.string().nullish(),
  gl_project_path: z.string().nullish(),
});

const id = z.int().min(1);

export const projectInfoSchema = z.object({
  project_id: id,
  gitaly_info: gitalyInfo,
  gitaly_repository: gitalyRepository,
});

export const agentInfoSchema = projectInfoSchema.extend({ agent_id: id, agent_name: z.string().min(1) });

type ProjectInfoAnswer = z.output<typeof projectInfoSchema>;

/** An agent with the project that has its configuration. */
export interface AgentAnswer {
  readonly agent: AgentInfo;
  readonly configurationProject: ProjectInfo;
}

export function toAgentAnswer(answer: z.output<typeof agentInfoSchema>): AgentAnswer {
  const configurationProject = toProjectInfo(answer);
  const { agent_id, agent_name, project_id } = answer;
  const agent = { id: agent_id, name: agent_name, project: configurationProject.path, projectId: project_id };
  return { agent, configurationProject };
}

/** @param path what the project was asked for by; GitLab's own name for it is taken when it says one */
export function toProjectInfo(answer: ProjectInfoAnswer, path = String(answer.project_id)): ProjectInfo {
  const location = toLocation(answer, path);
  return { path: location.glProjectPath, location };
}

function toLocation({ gitaly_info: gitaly, gitaly_repository: repository }: ProjectInfoAnswer, path: string): RepositoryLocation {
  return {
    gitaly: { address: gitaly.address, token: gitaly.token ?? '', features: gitaly.features ?? {} },
    storageName: repository.storage_name,
    relativePath: repository.relative_path,
    glRepository: repository.gl_repository ?? '',
    glProjectPath: repository.gl_project_path || path,
  };
}
