import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { UserError } from '../../lib/errors.ts';
import { parseYamlConfig } from '../../lib/yaml-config.ts';
import { parseGitalyAddress } from '../gitaly/gitaly-address.ts';
import type { AgentInfo, ProjectInfo } from './registry.ts';
import { repositoryUrlKey } from './repository-url.ts';

/** What a registry file says, with everything it names looked up. */
export interface RegistryContent {
  readonly agents: ReadonlyMap<string, AgentInfo>;
  readonly projects: ReadonlyMap<string, RegisteredProject>;
  /** People who may reach clusters, by username. */
  readonly users: ReadonlyMap<string, RegisteredUser>;
  /** Absolute path. */
  readonly agentTokensFile: string;
  /** Absolute path. */
  readonly accessTokensFile: string;
  /** Every other file that was read, absolute. */
  readonly tokenFiles: readonly string[];
}

/** From the least to the most. */
export const ROLES = ['guest', 'reporter', 'developer', 'maintainer', 'owner'] as const;
export type Role = (typeof ROLES)[number];

export interface RegisteredUser {
  readonly username: string;
  /** Role by full path of a project or a group. */
  readonly projects: ReadonlyMap<string, Role>;
  readonly groups: ReadonlyMap<string, Role>;
}

export interface RegisteredProject {
  readonly project: ProjectInfo;
  readonly public: boolean;
  /** Names of the agents that may read it. */
  readonly agents: ReadonlySet<string>;
  /** Address of its repository at a Git host, see `repositoryUrlKey`. */
  readonly remote: string | undefined;
}

/** An RFC 1123 label, as in GitLab. */
export const AGENT_NAME = /^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

const name = z.string().regex(AGENT_NAME, {
  message: 'must be lower-case letters, digits and "-", at most 63, with no "-" at either end; rename it',
});
const projectPath = z.string().regex(/^[^/\s](?:[^\s]*[^/\s])?$/, {
  message: 'must be a full project path without "/" at either end; write it like group/project',
});

const gitalyServer = z.strictObject({
  address: z.string().superRefine((address, context) => {
    try {
      parseGitalyAddress(address);
    } catch {
      context.addIssue('must begin with tcp://, tls:// or unix:; write it like tcp://127.0.0.1:8075');
    }
  }),
  token_file: z.string().min(1).optional(),
});

/** What may be written into the file. */
const membership = z.array(z.strictObject({ path: projectPath, role: z.enum(ROLES) })).default([]);

const user = z.strictObject({
  username: z.string().regex(/^(?=.{1,255}$)[A-Za-z0-9_][\w.-]*$/, {
    message: 'must begin with a letter, a digit or "_", and go on with these, "." and "-"; correct it',
  }),
  projects: membership,
  groups: membership,
});

export const registrySchema = z
  .strictObject({
    gitaly_servers: z.record(z.string().min(1), gitalyServer),
    agents: z.array(z.strictObject({ id: z.int().min(1), name, project: projectPath })).default([]),
    projects: z
      .array(
        z.strictObject({
          path: projectPath,
          gitaly: z.string().default('default'),
          storage_name: z.string().default('default'),
          relative_path: z.string().min(1).optional(),
          public: z.boolean().default(false),
          agents: z.array(name).default([]),
          remote: z.string().min(1).optional(),
        }),
      )
      .default([]),
    users: z.array(user).default([]),
    access_tokens_file: z.string().min(1).default('access-tokens.json'),
    agent_tokens_file: z.string().min(1).default('agent-tokens.json'),
  })
  .superRefine((registry, context) => {
    const issue = (path: (string | number)[], message: string): void => context.addIssue({ code: 'custom', path, message });
    unique(
      registry.agents.map((agent) => agent.id),
      (index, id) => issue(['agents', index, 'id'], `id ${id} is used twice; give each agent its own`),
    );
    unique(
      registry.agents.map((agent) => agent.name),
      (index, twice) => issue(['agents', index, 'name'], `name "${twice}" is used twice; give each agent its own`),
    );
    unique(
      registry.projects.map((project) => project.path),
      (index, path) => issue(['projects', index, 'path'], `project "${path}" is listed twice; remove one`),
    );
    unique(
      registry.users.map((one) => one.username),
      (index, twice) => issue(['users', index, 'username'], `username "${twice}" is used twice; remove one`),
    );
    const agents = new Set(registry.agents.map((agent) => agent.name));
    const projects = new Set(registry.projects.map((project) => project.path));
    for (const [index, agent] of registry.agents.entries())
      if (!projects.has(agent.project))
        issue(['agents', index, 'project'], `there is no project "${agent.project}"; add it to projects`);
    for (const [index, project] of registry.projects.entries()) {
      if (project.remote !== undefined && repositoryUrlKey(project.remote) === undefined)
        issue(['projects', index, 'remote'], 'is not the address of a repository; write it like https://github.com/shop/web.git');
      if (!Object.hasOwn(registry.gitaly_servers, project.gitaly))
        issue(['projects', index, 'gitaly'], `there is no server "${project.gitaly}"; add it to gitaly_servers`);
      for (const [position, agent] of project.agents.entries())
        if (!agents.has(agent)) issue(['projects', index, 'agents', position], `there is no agent "${agent}"; add it to agents`);
    }
  });

function unique<T>(values: readonly T[], report: (index: number, value: T) => void): void {
  const seen = new Set<T>();
  for (const [index, value] of values.entries()) {
    if (seen.has(value)) report(index, value);
    seen.add(value);
  }
}

/** Reads and checks a registry file and the Gitaly tokens it names. UserError with file and line when something is wrong. */
export async function readRegistryFile(file: string): Promise<RegistryContent> {
  const folder = dirname(resolve(file));
  const parsed = parseYamlConfig(await read(file, 'registry file'), file, registrySchema);
  const servers = new Map<string, { readonly address: string; readonly token: string }>();
  const tokenFiles: string[] = [];
  for (const [key, server] of Object.entries(parsed.gitaly_servers)) {
    let token = '';
    if (server.token_file !== undefined) {
      const tokenFile = resolve(folder, server.token_file);
      tokenFiles.push(tokenFile);
      token = (await read(tokenFile, `token file of Gitaly server "${key}"`)).trim();
    }
    servers.set(key, { address: server.address, token });
  }
  const projects = parsed.projects.map((entry): [string, RegisteredProject] => {
    const gitaly = servers.get(entry.gitaly) ?? { address: '', token: '' };
    const relativePath = entry.relative_path ?? `${entry.path}.git`;
    const location = { gitaly, storageName: entry.storage_name, relativePath, glRepository: '', glProjectPath: entry.path };
    const project = { path: entry.path, location };
    const remote = entry.remote === undefined ? undefined : repositoryUrlKey(entry.remote);
    return [entry.path, { project, public: entry.public, agents: new Set(entry.agents), remote }];
  });
  return {
    agents: new Map(parsed.agents.map((agent) => [agent.name, agent])),
    projects: new Map(projects),
    users: new Map(parsed.users.map((one) => [one.username, toUser(one)])),
    agentTokensFile: resolve(folder, parsed.agent_tokens_file),
    accessTokensFile: resolve(folder, parsed.access_tokens_file),
    tokenFiles,
  };
}

function toUser({ username, projects, groups }: z.output<typeof user>): RegisteredUser {
  const roles = (memberships: typeof projects): ReadonlyMap<string, Role> =>
    new Map(memberships.map(({ path, role }) => [path, role]));
  return { username, projects: roles(projects), groups: roles(groups) };
}

async function read(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new UserError(`Cannot read the ${what} ${file}: ${(error as Error).message}`, {
      reason: 'FileUnreadable',
      cause: error,
    });
  }
}
