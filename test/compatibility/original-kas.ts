import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RorFixture } from '../../kas/gitlab-api/ror-fixture.ts';
import { freePort } from '../harness/free-port.ts';
import { waitUntil } from '../harness/wait-until.ts';

export interface OriginalKasOptions {
  /** The program, built from GitLab's public source. */
  readonly binary: string;
  /** For its configuration and log. */
  readonly directory: string;
  readonly rails: RorFixture;
  /** Where it finds GitLab, when something is between them. */
  readonly railsUrl?: string;
  readonly webSocket?: boolean;
  readonly maxConnectionAge?: string;
  readonly callsPerMinute?: number;
  readonly infoCacheTtl?: string;
  /** `unix:///path` or `redis://host:port`; without it nothing is tracked or limited. */
  readonly redis?: string;
}

export const API_SECRET = Buffer.alloc(32, 7).toString('base64');

/** kas of GitLab 13.8 as a process, with what it needs. */
export class OriginalKas implements AsyncDisposable {
  readonly agentAddress: string;
  readonly apiAddress: string;
  readonly #process: ChildProcess;

  private constructor(agentAddress: string, apiAddress: string, process: ChildProcess) {
    this.agentAddress = agentAddress;
    this.apiAddress = apiAddress;
    this.#process = process;
  }

  static async start(options: OriginalKasOptions): Promise<OriginalKas> {
    const { binary, directory, rails } = options;
    await mkdir(directory, { recursive: true });
    const [agents, api, observability] = [await freePort(), await freePort(), await freePort()];
    const file = (name: string): string => join(directory, name);
    await writeFile(file('gitlab-secret'), rails.secret.toString('base64'));
    await writeFile(file('api-secret'), API_SECRET);
    await writeFile(file('kas.yaml'), configuration(options, agents, api, observability));
    const child = spawn(binary, ['--configuration-file', file('kas.yaml')], { cwd: directory });
    const log = createWriteStream(file('kas.log'));
    child.stdout.pipe(log);
    child.stderr.pipe(log);
    const ready = async (): Promise<boolean> =>
      await fetch(`http://127.0.0.1:${observability}/liveness`).then(
        (response) => response.ok,
        () => false,
      );
    await waitUntil(ready, { what: `${binary} to listen`, timeoutMs: 20_000 });
    return new OriginalKas(`127.0.0.1:${agents}`, `127.0.0.1:${api}`, child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null) return;
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }
}

function configuration(options: OriginalKasOptions, agents: number, api: number, observability: number): string {
  const { rails, railsUrl = rails.url.href, webSocket = false, maxConnectionAge = '1800s', callsPerMinute = 100 } = options;
  const { redis, infoCacheTtl = '300s' } = options;
  return `gitlab: {address: "${railsUrl}", authentication_secret_file: gitlab-secret}
agent:
  listen:
    address: 127.0.0.1:${agents}
    websocket: ${webSocket}
    max_connection_age: ${maxConnectionAge}
    connections_per_token_per_minute: ${callsPerMinute}
  info_cache_ttl: ${infoCacheTtl}
  configuration: {poll_period: 2s}
  gitops: {poll_period: 2s, project_info_cache_ttl: ${infoCacheTtl}}
observability:
  listen: {address: "127.0.0.1:${observability}"}
  logging: {level: debug}
  usage_reporting_period: 2s
# Its defaults, 5 and 10 a second, make 500 files take 100 s.
gitaly:
  global_api_rate_limit: {refill_rate_per_second: 1000, bucket_size: 1000}
  per_server_api_rate_limit: {refill_rate_per_second: 1000, bucket_size: 1000}
api: {listen: {address: "127.0.0.1:${api}", authentication_secret_file: api-secret}}
${redis === undefined ? '' : `redis: {server: {url: "${redis}"}}\n`}`;
}
