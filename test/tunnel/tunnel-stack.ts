import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createAccessToken } from '../../kas/registry/access-tokens.ts';
import { createServingCertificate } from '../harness/certificate.ts';
import { freePort } from '../harness/free-port.ts';
import { WorkingCopy } from '../harness/git.ts';
import { Stack } from '../harness/stack.ts';
import { freeAddresses, type StackAddresses, type StackAgent } from '../harness/stack-files.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';

export interface TunnelStackOptions {
  readonly kubeconfigPath: string;
  readonly kubectlPath: string;
  /** Keys of the agent's configuration file. */
  readonly configuration: string;
  /** Free ones when absent. */
  readonly addresses?: StackAddresses;
  /** Where agentk finds kas, when something is between them. */
  readonly kasSeenByAgent?: string;
  /** Whether the proxy speaks plain HTTP: enough for all but kubectl, which then sends no token. */
  readonly plain?: boolean;
  /** Added to kas' configuration: below `agent.gitops`, and at its top. */
  readonly kasYaml?: { readonly gitops: string; readonly top: string };
}

export interface KubectlRun {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly token?: string;
}

const CHECKOUT = join(import.meta.dirname, '../..');
export const PROJECT = 'platform/agents';
export const OTHER_PROJECT = 'shop/web';
const REGISTRY = `users:
  - username: ann
    projects: [{ path: ${OTHER_PROJECT}, role: maintainer }]
  - username: bob
    projects: [{ path: ${OTHER_PROJECT}, role: reporter }]
`;

/** A git server, kas with its Kubernetes API proxy, agentk, and people and jobs with tokens. */
export class TunnelStack implements AsyncDisposable {
  readonly stack: Stack;
  readonly agent: StackAgent;
  /** `host:port` of the proxy. */
  readonly proxy: string;
  readonly #options: TunnelStackOptions;
  readonly #directory: TempDir;
  #kubeconfigs = 0;

  private constructor(options: TunnelStackOptions, directory: TempDir, stack: Stack, agent: StackAgent, proxy: string) {
    this.#options = options;
    this.#directory = directory;
    this.stack = stack;
    this.agent = agent;
    this.proxy = proxy;
  }

  /** Everything runs, and the agent has its configuration. */
  static async open(options: TunnelStackOptions): Promise<TunnelStack> {
    const directory = await createTempDir();
    const agent = { id: randomInt(1_001, 2 ** 31), name: 'production' };
    const proxy = `127.0.0.1:${await freePort()}`;
    // kubectl sends no token without TLS.
    const { cert, key } = await createServingCertificate();
    await writeFile(join(directory.path, 'proxy.crt'), cert);
    await writeFile(join(directory.path, 'proxy.key'), key);
    const tls = options.plain === true ? '' : ', certificate_file: ../proxy.crt, key_file: ../proxy.key';
    const listen = `{ address: "${proxy}"${tls} }`;
    const stack = await Stack.open({
      directory: join(directory.path, 'stack'),
      kubeconfig: options.kubeconfigPath,
      addresses: options.addresses ?? (await freeAddresses()),
      agent,
      agentNamespace: `kas-agent-${agent.id}`,
      projects: [PROJECT, OTHER_PROJECT],
      pollPeriodMs: 500,
      notifications: true,
      kasYaml: {
        agent: `${options.kasYaml?.gitops ?? ''}  kubernetes_api: { listen: ${listen} }\n`,
        top: options.kasYaml?.top ?? '',
      },
      registryYaml: REGISTRY,
      ...(options.kasSeenByAgent === undefined ? {} : { kasSeenByAgent: options.kasSeenByAgent }),
    });
    const opened = new TunnelStack(options, directory, stack, agent, proxy);
    try {
      await opened.configure(options.configuration);
      await stack.agentk.start();
      return opened;
    } catch (error) {
      await opened[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Commits the agent's configuration. */
  async configure(configuration: string): Promise<void> {
    this.#kubeconfigs += 1;
    const copy = await WorkingCopy.clone(this.stack.cloneUrl, join(this.#directory.path, `clone-${this.#kubeconfigs}`));
    await copy.write(`.gitlab/agents/${this.agent.name}/config.yaml`, configuration);
    await copy.commitAndPush('Configure the agent');
  }

  /** `kas token` with these arguments; what it printed. */
  async kasToken(action: string, ...args: readonly string[]): Promise<string> {
    const command = ['kas/main.ts', 'token', action, '--registry', this.stack.files.registry, ...args];
    return (await promisify(execFile)(process.execPath, command, { cwd: CHECKOUT })).stdout.trim();
  }

  /** What kubectl sends for a new token of a person. */
  async userToken(username: string, expiresAt?: Date): Promise<string> {
    return `pat:${this.agent.id}:${await createAccessToken(this.stack.files.registry, { kind: 'user', username }, expiresAt)}`;
  }

  /** What CI jobs of the project send. `environment` is its name and tier. */
  async jobToken(project: string, environment?: { readonly slug: string; readonly tier: string }): Promise<string> {
    const owner = { kind: 'job', project, environment, protected: false } as const;
    return `ci:${this.agent.id}:${await createAccessToken(this.stack.files.registry, owner, undefined)}`;
  }

  /** A kubeconfig by which kubectl goes through kas. */
  async kubeconfig(token: string, server = `https://${this.proxy}`): Promise<string> {
    this.#kubeconfigs += 1;
    const file = join(this.#directory.path, `kubeconfig-${this.#kubeconfigs}`);
    const text = `apiVersion: v1
kind: Config
current-context: kas
contexts: [{ name: kas, context: { cluster: kas, user: me } }]
clusters: [{ name: kas, cluster: { server: "${server}", certificate-authority: "${this.folder}/proxy.crt" } }]
users: [{ name: me, user: { token: "${token}" } }]
`;
    await writeFile(file, text, { mode: 0o600 });
    return file;
  }

  /** A kubectl that runs; ended by whoever started it. */
  start(kubeconfig: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): RunningKubectl {
    return new RunningKubectl(
      spawn(this.#options.kubectlPath, args, { env: { ...process.env, ...env, KUBECONFIG: kubeconfig } }),
    );
  }

  /** Standard output of kubectl; rejects with what it wrote to standard error. */
  async kubectl(kubeconfig: string, args: readonly string[], { stdin = '', env = {} }: KubectlRun = {}): Promise<string> {
    await using running = this.start(kubeconfig, args, env);
    running.write(stdin);
    running.endInput();
    const code = await running.exited;
    if (code !== 0) throw new Error(running.errors.trim() || `kubectl ended with code ${code}`);
    return running.output;
  }

  get folder(): string {
    return this.#directory.path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack[Symbol.asyncDispose]();
    await this.#directory.remove();
  }
}

/** A kubectl and what it has written. */
export class RunningKubectl implements AsyncDisposable {
  readonly exited: Promise<number | null>;
  output = '';
  errors = '';
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
    });
    // It may end without having read it all.
    child.stdin?.on('error', () => undefined);
    this.exited = once(child, 'close').then(([code]) => code as number | null);
  }

  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  endInput(): void {
    this.#child.stdin?.end();
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.kill();
    await this.exited;
  }
}
