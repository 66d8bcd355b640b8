import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { access, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

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
}

/** Where the files of a stack are, all below one folder. */
export interface StackFiles {
  readonly directory: string;
  readonly gitserverConfig: string;
  readonly kasConfig: string;
  readonly registry: string;
  readonly apiSecret: string;
  readonly agentToken: string;
  readonly pushToken: string;
}

export const AGENT = 'demo';
export const PROJECT = 'demo/shop';
const REPOSITORY = `${PROJECT}.git`;
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
    pushToken: at('push-token'),
  };
}

/** Writes what every program of the stack needs; secrets, tokens and the repository only if they are not there yet. */
export async function prepareStack(files: StackFiles, settings: StackSettings): Promise<void> {
  await mkdir(files.directory, { recursive: true, mode: 0o700 });
  await writeConfigs(files, settings);
  await once(files.apiSecret, async () => randomBytes(32).toString('base64'));
  await once(join(files.directory, 'gitaly-secret'), async () => randomBytes(32).toString('hex'));
  const gitserver = ['kas/gitserver/main.ts'];
  if (!(await exists(join(files.directory, 'repositories', REPOSITORY))))
    await run([...gitserver, 'create', '--config', files.gitserverConfig, REPOSITORY]);
  await once(
    files.pushToken,
    async () => await run([...gitserver, 'token', 'create', '--config', files.gitserverConfig, '--project', REPOSITORY]),
  );
  await once(
    files.agentToken,
    async () => await run(['kas/main.ts', 'token', 'create', '--registry', files.registry, '--agent', AGENT]),
  );
}

/** The configuration files alone, for programs that are started again with other settings. */
export async function writeConfigs(files: StackFiles, { addresses, pollPeriodMs, notifications }: StackSettings): Promise<void> {
  const notify = `notify:\n  address: grpc://${addresses.kasApi}\n  secret_file: api-secret\n`;
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
observability:
  listen:
    address: ${addresses.kasObservability}
api:
  listen:
    address: ${addresses.kasApi}
    authentication_secret_file: api-secret
registry:
  file: registry.yaml
`,
  );
  await writeFile(
    files.registry,
    `gitaly_servers:
  default:
    address: tcp://${addresses.gitGrpc}
    token_file: gitaly-secret
agents:
  - id: 1
    name: ${AGENT}
    project: ${PROJECT}
projects:
  - path: ${PROJECT}
    relative_path: ${REPOSITORY}
`,
  );
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
