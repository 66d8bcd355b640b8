import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createAgentToken } from '../../kas/registry/agent-tokens.ts';
import { freePort } from './free-port.ts';
import { initBareRepository } from './git.ts';

/** Addresses, `host:port`, of the programs of one stack. */
export interface StackAddresses {
  readonly gitGrpc: string;
  readonly gitHttp: string;
  readonly kasAgents: string;
  readonly kasApi: string;
  readonly kasObservability: string;
}

export interface StackSettings {
  readonly addresses: StackAddresses;
  readonly pollPeriodMs: number;
  /** Whether the git server tells kas of pushes. */
  readonly notifications: boolean;
  /** Where the git server finds kas' API, `host:port`, when something is between them. */
  readonly kasSeenByGitserver?: string;
  /** Where kas finds the git server's Gitaly services, `host:port`, when something is between them. */
  readonly gitSeenByKas?: string;
  /** Id 1, name `AGENT`, when absent. */
  readonly agent?: StackAgent;
  /** Full paths; the first has the agent's configuration, and the agent may read the others. `PROJECT` when absent. */
  readonly projects?: readonly [string, ...string[]];
  /** Added to kas' configuration: below `agent`, and at its top. */
  readonly kasYaml?: { readonly agent?: string; readonly top?: string };
  /** Added to the registry file, at its top. */
  readonly registryYaml?: string;
  /** Further agents, each with a project of its own. */
  readonly tenants?: readonly StackTenant[];
}

/** An agent that shares git server and kas with others. A repository of its own is pushed to by its path. */
export interface StackTenant {
  readonly agent: StackAgent;
  /** Full path of the project with its configuration: its own, or one of `projects`. */
  readonly project: string;
}

export interface StackAgent {
  readonly id: number;
  readonly name: string;
}

/** Where the files of a stack are, all below one folder. */
export interface StackFiles {
  readonly directory: string;
  readonly gitserverConfig: string;
  readonly kasConfig: string;
  readonly registry: string;
  readonly apiSecret: string;
  readonly agentToken: string;
  /** Of a project. */
  pushToken(project: string): string;
  /** Of the agent of a tenant. */
  agentTokenOf(agent: string): string;
  /** The bare repository of a project. */
  repository(project: string): string;
}

export const AGENT = 'demo';
export const PROJECT = 'demo/shop';
const DEFAULT_AGENT: StackAgent = { id: 1, name: AGENT };
const CHECKOUT = join(import.meta.dirname, '../..');

export function stackFiles(directory: string): StackFiles {
  const at = (name: string): string => join(directory, name);
  return {
    directory,
    gitserverConfig: at('gitserver.yaml'),
    kasConfig: at('kas.yaml'),
    registry: at('registry.yaml'),
    apiSecret: at('api-secret'),
    agentToken: at('agent-token'),
    pushToken: (project) => at(`push-token-${project.replaceAll('/', '-')}`),
    agentTokenOf: (agent) => at(`agent-token-${agent}`),
    repository: (project) => at(join('repositories', `${project}.git`)),
  };
}

export async function freeAddresses(): Promise<StackAddresses> {
  const address = async (): Promise<string> => `127.0.0.1:${await freePort()}`;
  return {
    gitGrpc: await address(),
    gitHttp: await address(),
    kasAgents: await address(),
    kasApi: await address(),
    kasObservability: await address(),
  };
}

/** Writes what every program of the stack needs; secrets, tokens and repositories only if they are not there yet. */
export async function prepareStack(files: StackFiles, settings: StackSettings): Promise<void> {
  await mkdir(files.directory, { recursive: true, mode: 0o700 });
  await writeConfigs(files, settings);
  await once(files.apiSecret, async () => randomBytes(32).toString('base64'));
  await once(join(files.directory, 'gitaly-secret'), async () => randomBytes(32).toString('hex'));
  for (const project of settings.projects ?? [PROJECT]) await prepareRepository(files, project);
  // In this process: with many of them a program for each would take its time.
  for (const { agent, project } of settings.tenants ?? []) {
    if (!(await exists(files.repository(project)))) await initBareRepository(files.repository(project));
    await once(files.agentTokenOf(agent.name), async () => await createAgentToken(files.registry, agent.name));
  }
  const { name } = settings.agent ?? DEFAULT_AGENT;
  await once(
    files.agentToken,
    async () => await run(['kas/main.ts', 'token', 'create', '--registry', files.registry, '--agent', name]),
  );
}

async function prepareRepository(files: StackFiles, project: string): Promise<void> {
  const repository = `${project}.git`;
  const gitserver = async (...args: readonly string[]): Promise<string> =>
    await run(['kas/gitserver/main.ts', ...args, '--config', files.gitserverConfig]);
  if (!(await exists(files.repository(project)))) await gitserver('create', repository);
  await once(files.pushToken(project), async () => await gitserver('token', 'create', '--project', repository));
}

/** The configuration files alone, for programs that are started again with other settings. */
export async function writeConfigs(files: StackFiles, settings: StackSettings): Promise<void> {
  const { addresses, pollPeriodMs, notifications, kasSeenByGitserver = addresses.kasApi, kasYaml = {} } = settings;
  const notify = `notify:\n  address: grpc://${kasSeenByGitserver}\n  secret_file: api-secret\n`;
  await writeFile(
    files.gitserverConfig,
    `listen:
  grpc: ${addresses.gitGrpc}
  http: ${addresses.gitHttp}
storages:
  - name: default
    path: repositories
token_file: gitaly-secret
${notifications ? notify : ''}`,
  );
  await writeFile(
    files.kasConfig,
    `agent:
  listen:
    address: ${addresses.kasAgents}
  configuration:
    poll_period: ${pollPeriodMs}ms
  gitops:
    poll_period: ${pollPeriodMs}ms
${kasYaml.agent ?? ''}observability:
  listen:
    address: ${addresses.kasObservability}
api:
  listen:
    address: ${addresses.kasApi}
    authentication_secret_file: api-secret
registry:
  file: registry.yaml
${kasYaml.top ?? ''}`,
  );
  await writeFile(files.registry, registryYaml(settings) + (settings.registryYaml ?? ''));
}

function registryYaml(settings: StackSettings): string {
  const { addresses, agent = DEFAULT_AGENT, projects = [PROJECT], tenants = [], gitSeenByKas = addresses.gitGrpc } = settings;
  const agentEntry = ({ id, name }: StackAgent, project: string): string =>
    `  - id: ${id}\n    name: ${name}\n    project: ${project}\n`;
  const projectEntry = (path: string, names: readonly string[]): string =>
    `  - path: ${path}\n    relative_path: ${path}.git\n    agents: [${names.join(', ')}]\n`;
  const agents = [agentEntry(agent, projects[0]), ...tenants.map((tenant) => agentEntry(tenant.agent, tenant.project))];
  const readers = new Map<string, string[]>(projects.map((path) => [path, [agent.name]]));
  for (const tenant of tenants) readers.set(tenant.project, [...(readers.get(tenant.project) ?? []), tenant.agent.name]);
  const entries = [...readers].map(([path, names]) => projectEntry(path, names));
  return `gitaly_servers:
  default:
    address: tcp://${gitSeenByKas}
    token_file: gitaly-secret
agents:
${agents.join('')}projects:
${entries.join('')}`;
}

async function once(file: string, make: () => Promise<string>): Promise<void> {
  if (!(await exists(file))) await writeFile(file, (await make()).trim(), { mode: 0o600 });
}

async function run(args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, [...args], { cwd: CHECKOUT })).stdout;
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
