import { mkdir } from 'node:fs/promises';
import { writeKubeconfigFor } from '../../agentk/kube/testing/open-cluster.ts';
import { DelayProxy } from '../harness/delay-proxy.ts';
import { FaultProxy, type FaultRule, type RequestMatch } from '../harness/fault-proxy.ts';
import { matches } from '../harness/fault-rules.ts';
import type { Service } from '../harness/service.ts';
import type { StackTenant } from '../harness/stack-files.ts';
import type { Fleet } from './fleet.ts';
import { Project } from './project.ts';

export interface AgentOptions {
  readonly fleet: Fleet;
  readonly kubeconfigPath: string;
  readonly namespace: string;
  /** Whether requests to the API server are to be seen, or faults to be made. */
  readonly observed: boolean;
}

/** An agent of a scenario: its project, its process, and the networks between it and kas and the API server. */
export class Agent implements AsyncDisposable {
  readonly tenant: StackTenant;
  readonly project: Project;
  readonly agentk: Service;
  readonly kasNetwork: DelayProxy;
  readonly faults = new Map<string, FaultRule>();
  readonly #api: ObservedApi | undefined;
  /** How many requests there had been when something with this name was done. */
  readonly #marks = new Map<string, number>();

  private constructor(tenant: StackTenant, project: Project, agentk: Service, kas: DelayProxy, api: ObservedApi | undefined) {
    this.tenant = tenant;
    this.project = project;
    this.agentk = agentk;
    this.kasNetwork = kas;
    this.#api = api;
  }

  /** agentk is started by whoever opened it. */
  static async open({ fleet, kubeconfigPath, namespace, observed }: AgentOptions): Promise<Agent> {
    const tenant = fleet.take();
    const { stack, addresses } = fleet;
    const repository = stack.files.repository(tenant.project);
    const project = await Project.clone(repository, fleet.freshDirectory(), tenant.agent.name, namespace);
    const kas = await DelayProxy.listen({ port: Number(addresses.kasAgents.split(':').at(-1)) });
    const api = observed ? await observe(kubeconfigPath, fleet.freshDirectory()) : undefined;
    const agentk = stack.agentkOf(tenant, {
      kubeconfig: api?.kubeconfigPath ?? kubeconfigPath,
      agentNamespace: inventoryNamespace(tenant),
      kasSeenByAgent: `127.0.0.1:${kas.port}`,
    });
    return new Agent(tenant, project, agentk, kas, api);
  }

  get apiServer(): FaultProxy {
    return this.#observed().proxy;
  }

  get apiNetwork(): DelayProxy {
    return this.#observed().network;
  }

  get inventoryNamespace(): string {
    return inventoryNamespace(this.tenant);
  }

  /** Requests to the API server are counted from here when they are asked for `since` this name. */
  mark(name: string): void {
    this.#marks.set(name, this.#api?.proxy.requests.length ?? 0);
  }

  countRequests(match: RequestMatch, since: string | undefined): number {
    const from = since === undefined ? 0 : this.#marks.get(since);
    if (from === undefined) throw new Error(`no commit or fault is named ${since}`);
    return this.apiServer.requests.slice(from).filter((request) => matches(match, request)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agentk[Symbol.asyncDispose]();
    await this.kasNetwork.close();
    await this.#api?.network.close();
    await this.#api?.proxy[Symbol.asyncDispose]();
  }

  #observed(): ObservedApi {
    if (this.#api === undefined) throw new Error('nothing of the scenario needs a proxy before the API server');
    return this.#api;
  }
}

/** Two stretches between agentk and the API server: a network that can fail, then a proxy that knows requests. */
interface ObservedApi {
  readonly proxy: FaultProxy;
  readonly network: DelayProxy;
  readonly kubeconfigPath: string;
}

async function observe(kubeconfigPath: string, directory: string): Promise<ObservedApi> {
  const proxy = await FaultProxy.listen(kubeconfigPath);
  const network = await DelayProxy.listen({ port: proxy.port });
  await mkdir(directory, { recursive: true });
  return { proxy, network, kubeconfigPath: await writeKubeconfigFor(network.port, proxy.kubeconfigPath, directory) };
}

function inventoryNamespace({ agent }: StackTenant): string {
  return `agentk-${agent.id}`;
}
