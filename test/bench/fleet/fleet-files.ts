import { createHash, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../harness/free-port.ts';
import type { Credential } from './protocol.ts';

export interface FleetProject {
  readonly path: string;
}

export interface FleetPorts {
  readonly agents: number;
  readonly observability: number;
  readonly api: number;
  readonly gitGrpc: number;
  readonly gitHttp: number;
}

export interface FleetSettings {
  readonly folder: string;
  readonly ports: FleetPorts;
  /** Agents by name, each with the project of its configuration. */
  readonly agents: readonly { readonly name: string; readonly project: string }[];
  readonly projects: readonly string[];
  readonly pollPeriod: string;
}

export async function freePorts(): Promise<FleetPorts> {
  const [agents, observability, api, gitGrpc, gitHttp] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  return { agents, observability, api, gitGrpc, gitHttp };
}

/** Writes the files of kas and git server; the agents' tokens. */
export async function writeFleet(settings: FleetSettings): Promise<readonly Credential[]> {
  const { folder, agents, projects, ports } = settings;
  const at = (name: string): string => join(folder, name);
  await mkdir(at('repositories'), { recursive: true });
  const credentials = agents.map(({ name }) => ({ name, token: `kasagent-${randomBytes(32).toString('base64url')}` }));
  const tokens = credentials.map(({ name, token }) => ({
    agent: name,
    hash: createHash('sha256').update(token).digest('hex'),
    createdAt: new Date().toISOString(),
  }));
  await writeFile(at('agent-tokens.json'), JSON.stringify({ tokens }), { mode: 0o600 });
  await writeFile(at('gitaly-secret'), randomBytes(32).toString('hex'), { mode: 0o600 });
  await writeFile(at('api-secret'), randomBytes(32).toString('base64'), { mode: 0o600 });
  const registry = {
    gitaly_servers: { default: { address: `tcp://127.0.0.1:${ports.gitGrpc}`, token_file: 'gitaly-secret' } },
    agents: agents.map(({ name, project }, index) => ({ id: index + 1, name, project })),
    projects: projects.map((path) => ({ path, public: true })),
  };
  await writeFile(at('registry.yaml'), JSON.stringify(registry));
  await writeFile(at('gitserver.yaml'), gitserverYaml(ports));
  await writeFile(at('kas.yaml'), kasYaml(settings, ''));
  await writeFile(at('kas-tls.yaml'), kasYaml(settings, ', certificate_file: kas.crt, key_file: kas.key'));
  return credentials;
}

function gitserverYaml(ports: FleetPorts): string {
  return `listen: { grpc: "127.0.0.1:${ports.gitGrpc}", http: "127.0.0.1:${ports.gitHttp}" }
storages: [{ name: default, path: repositories }]
token_file: gitaly-secret
notify: { address: "grpc://127.0.0.1:${ports.api}", secret_file: api-secret }
`;
}

function kasYaml({ ports, pollPeriod }: FleetSettings, tls: string): string {
  return `agent:
  listen: { address: "127.0.0.1:${ports.agents}"${tls} }
  configuration: { poll_period: ${pollPeriod} }
  gitops: { poll_period: ${pollPeriod} }
observability: { listen: { address: "127.0.0.1:${ports.observability}" } }
api: { listen: { address: "127.0.0.1:${ports.api}", authentication_secret_file: api-secret } }
registry: { file: registry.yaml }
`;
}
