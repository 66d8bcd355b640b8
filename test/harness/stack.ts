import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { KasApi } from './kas-api.ts';
import { Service } from './service.ts';
import {
  PROJECT,
  prepareStack,
  type StackAddresses,
  type StackFiles,
  type StackSettings,
  type StackTenant,
  stackFiles,
  writeConfigs,
} from './stack-files.ts';

export interface StackOptions extends StackSettings, AgentkOptions {
  /** Holds everything of the stack: configuration, secrets, repositories, logs. What is there is used again. */
  readonly directory: string;
}

export interface AgentkOptions {
  readonly addresses: StackAddresses;
  readonly kubeconfig: string;
  readonly context?: string;
  /** Where agentk keeps its inventories, when not where it does by itself. */
  readonly agentNamespace?: string;
  /** Where agentk finds kas, `host:port`, when something is between them. */
  readonly kasSeenByAgent?: string;
  /** As agentk's flag has it; its default when absent. */
  readonly leaseDuration?: string;
}

const AGENTK_READY = /"msg":"Connected to kas"/;

/**
 * Git server, kas and agentk as three real processes on this machine, configured to work together. `open` starts the
 * first two; agentk is started by whoever opened it, once the repository has content.
 */
export class Stack implements AsyncDisposable {
  readonly files: StackFiles;
  readonly gitserver: Service;
  readonly kas: Service;
  readonly agentk: Service;
  readonly api: KasApi;
  readonly #settings: StackSettings;
  readonly #options: AgentkOptions;

  private constructor(options: StackOptions) {
    const files = stackFiles(options.directory);
    const service = (name: string, main: string, args: readonly string[], ready: RegExp): Service =>
      new Service({ main, args, ready, logFile: join(files.directory, `${name}.log`) });
    this.#settings = options;
    this.#options = options;
    this.files = files;
    this.gitserver = service('gitserver', 'kas/gitserver/main.ts', ['serve', '--config', files.gitserverConfig], /"msg":"Ready"/);
    this.kas = service('kas', 'kas/main.ts', ['serve', '--config', files.kasConfig], /"msg":"kas is ready"/);
    this.agentk = agentkService(files, options, 1);
    this.api = new KasApi(options.addresses.kasApi, files.apiSecret);
  }

  static async open(options: StackOptions): Promise<Stack> {
    await prepareStack(stackFiles(options.directory), options);
    const stack = new Stack(options);
    try {
      await stack.gitserver.start();
      await stack.kas.start();
      return stack;
    } catch (error) {
      await stack[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** `cloneUrlOf` the first project. */
  get cloneUrl(): string {
    return this.cloneUrlOf(this.#settings.projects?.[0] ?? PROJECT);
  }

  /** For `git clone`, with the token that also allows `git push`. */
  cloneUrlOf(project: string): string {
    const token = readFileSync(this.files.pushToken(project), 'utf8');
    return `http://git:${token}@${this.#settings.addresses.gitHttp}/${project}.git`;
  }

  /** Another replica of the agent, which reaches the cluster by its own kubeconfig; for whoever asked to start and dispose of. */
  replica(number: number, kubeconfig: string): Service {
    return agentkService(this.files, { ...this.#options, kubeconfig }, number);
  }

  /** The agentk of a tenant; to be started, and disposed of, by whoever asked. */
  agentkOf({ agent }: StackTenant, options: Omit<AgentkOptions, 'addresses'>): Service {
    const others = agentkArgs(this.files.agentTokenOf(agent.name), { ...options, addresses: this.#settings.addresses });
    // It is the only one of its agent, and its requests are counted.
    const args = [...others, '--leader-election=false'];
    const logFile = join(this.files.directory, `agentk-${agent.name}.log`);
    return new Service({ main: 'agentk/main.ts', args, ready: AGENTK_READY, logFile });
  }

  /** Starts git server and kas again, with other settings. */
  async reconfigure(changes: Partial<Omit<StackSettings, 'addresses'>>): Promise<void> {
    await this.gitserver.stop();
    await this.kas.stop();
    await writeConfigs(this.files, { ...this.#settings, ...changes });
    await this.gitserver.start();
    await this.kas.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const service of [this.agentk, this.kas, this.gitserver]) await service[Symbol.asyncDispose]();
    this.api[Symbol.dispose]();
  }
}

/** One replica of the stack's agent. Started again it is a container that was restarted in the same pod. */
function agentkService(files: StackFiles, options: AgentkOptions, replica: number): Service {
  const name = `agentk-${replica}`;
  return new Service({
    main: 'agentk/main.ts',
    args: agentkArgs(files.agentToken, options),
    env: { POD_NAME: name, POD_UID: randomUUID() },
    ready: AGENTK_READY,
    logFile: join(files.directory, replica === 1 ? 'agentk.log' : `${name}.log`),
  });
}

function agentkArgs(tokenFile: string, options: AgentkOptions): string[] {
  const { addresses, kubeconfig, context, agentNamespace, kasSeenByAgent, leaseDuration } = options;
  const address = `grpc://${kasSeenByAgent ?? addresses.kasAgents}`;
  const args = ['--kas-address', address, '--token-file', tokenFile, '--kubeconfig', kubeconfig];
  if (context !== undefined) args.push('--context', context);
  if (agentNamespace !== undefined) args.push('--namespace', agentNamespace);
  if (leaseDuration !== undefined) args.push('--lease-duration', leaseDuration);
  return args;
}
