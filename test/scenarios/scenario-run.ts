import type { UnitOperation } from '../harness/kas-api.ts';
import type { Service } from '../harness/service.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Agent } from './agent.ts';
import type { Memory } from './check-cluster.ts';
import { differences } from './compare.ts';
import { expectAll, type Observable } from './expect-all.ts';
import { faultOf, matchOf } from './faults.ts';
import type { Fleet } from './fleet.ts';
import { LiveApi } from './live-api.ts';
import type { Project } from './project.ts';
import type { Control, Edit, Network, OperateStep, Scenario, Step } from './scenario-schema.ts';
import { Webhook } from './webhook.ts';

/** A cluster whose etcd can be set back. */
export interface OwnCluster {
  snapshotEtcd(signal: AbortSignal): Promise<void>;
  restoreEtcd(signal: AbortSignal): Promise<void>;
}

export interface ScenarioRunOptions {
  readonly fleet: Fleet;
  readonly kubeconfigPath: string;
  /** Exists, and is removed by whoever made it. */
  readonly namespace: string;
  readonly ownCluster?: OwnCluster;
}

const NEVER = new AbortController().signal;
/** Steps for which requests to the API server must come by a proxy. */
const OBSERVING = new Set(['fault', 'heal']);

/** One scenario from its first step to its clean-up. */
export class ScenarioRun implements Observable, AsyncDisposable {
  readonly api: LiveApi;
  readonly namespace: string;
  readonly fleet: Fleet;
  readonly memory: Memory = new Map();
  readonly #options: ScenarioRunOptions;
  readonly #agents = new Map<string, Agent>();
  readonly #webhooks = new Map<string, Webhook>();
  /** Cluster-scoped or not: what the scenario's own edits made, to be removed. */
  readonly #made: string[] = [];

  private constructor(options: ScenarioRunOptions) {
    this.#options = options;
    this.namespace = options.namespace;
    this.fleet = options.fleet;
    this.api = new LiveApi(options.kubeconfigPath, options.namespace);
  }

  /** With all agents of the scenario connected. */
  static async open(scenario: Scenario, options: ScenarioRunOptions): Promise<ScenarioRun> {
    const run = new ScenarioRun(options);
    const observed = scenario.steps.some(observes);
    try {
      for (const name of scenario.agents) {
        const agent = await Agent.open({ ...options, observed });
        run.#agents.set(name, agent);
      }
      await Promise.all([...run.#agents.values()].map(async ({ agentk }) => await agentk.start()));
      return run;
    } catch (error) {
      await run[Symbol.asyncDispose]();
      throw error;
    }
  }

  async step(step: Step): Promise<void> {
    if (step.commit !== undefined) {
      const agent = this.agent(step.commit.agent);
      if (step.commit.as !== undefined) agent.mark(step.commit.as);
      await agent.project.commit(step.commit);
    }
    await this.#edit(step);
    await this.#fail(step);
    if (step.webhook !== undefined) await this.#webhook(step.webhook);
    if (step.operate !== undefined) await this.#operate(step.operate);
    if (step.etcd !== undefined) await this.#etcd(step.etcd);
    if (step.expect !== undefined) await expectAll(step.expect, this);
  }

  /** The scenario's first agent when unnamed. */
  agent(name?: string): Agent {
    const agent = name === undefined ? [...this.#agents.values()][0] : this.#agents.get(name);
    if (agent === undefined) throw new Error(`the scenario has no agent ${name}`);
    return agent;
  }

  service(program: 'agentk' | 'kas' | 'gitserver', agent?: string): Service {
    return program === 'agentk' ? this.agent(agent).agentk : this.fleet.stack[program];
  }

  /** Does all of it, whatever of it fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    await using cleanup = new AsyncDisposableStack();
    cleanup.use(this.api);
    for (const agent of this.#agents.values()) cleanup.use(agent);
    for (const webhook of this.#webhooks.values()) cleanup.use(webhook);
    for (const program of ['gitserver', 'kas'] as const) cleanup.defer(async () => await this.#revive(program));
    for (const { agentk } of this.#agents.values()) await agentk.stop();
    for (const ref of this.#made) await this.api.delete(ref, 'Background');
    for (const agent of this.#agents.values()) {
      await this.api.deleteClusterScoped(`kas.gitops/agent=${agent.tenant.agent.id}`);
      await this.api.delete(`Namespace ${agent.inventoryNamespace}`, 'Background');
    }
  }

  async #revive(program: 'gitserver' | 'kas'): Promise<void> {
    const service = this.fleet.stack[program];
    if (service.hasExited) await service.start();
  }

  async #edit({ create, apply, patch, label, delete: remove }: Edit): Promise<void> {
    if (create !== undefined) this.#remember(await this.api.create(create.manifest, create.manager));
    if (apply !== undefined) this.#remember(await this.api.apply(apply.manifest, apply.manager, apply.force));
    if (label !== undefined) await this.api.patch(label.object, 'merge', { metadata: { labels: label.labels } }, label.manager);
    if (patch !== undefined) await this.#patch(patch);
    if (remove === undefined) return;
    await this.api.delete(remove.object, remove.propagation);
    const isGone = async (): Promise<boolean> => (await this.api.get(remove.object)) === undefined;
    if (remove.wait) await waitUntil(isGone, { what: `${remove.object} to be gone`, timeoutMs: 30_000 });
  }

  async #patch({ object, manager, subresource, merge, strategic, json, until }: NonNullable<Step['patch']>): Promise<void> {
    const kind = merge === undefined ? (strategic === undefined ? 'json' : 'strategic') : 'merge';
    const once = async (): Promise<boolean> => {
      await this.api.patch(object, kind, merge ?? strategic ?? json, manager, subresource);
      return until === undefined || differences(until, await this.api.get(object)).length === 0;
    };
    await waitUntil(once, { what: `${object} to be as the patch wants it`, timeoutMs: 30_000 });
  }

  #remember(manifests: readonly { kind: string; apiVersion: string; metadata: { name: string; namespace?: string } }[]): void {
    for (const { kind, apiVersion, metadata } of manifests) {
      const group = apiVersion.includes('/') ? `.${apiVersion.split('/')[0]}` : '';
      const place = metadata.namespace === undefined ? '' : `${metadata.namespace}/`;
      this.#made.unshift(`${kind}${group} ${place}${metadata.name}`);
    }
  }

  async #fail({ kill, stop, start, cut, pause, resume, fault, heal }: Step): Promise<void> {
    const { service, agent } = { service: this.#controlled.bind(this), agent: this.agent.bind(this) };
    if (kill !== undefined) await service(kill).kill();
    if (stop !== undefined) await service(stop).stop();
    if (start !== undefined) await service(start).start();
    if (cut !== undefined) networkOf(cut, agent).cut();
    if (pause !== undefined) networkOf(pause, agent).pause();
    if (resume !== undefined) networkOf(resume, agent).resume();
    if (fault !== undefined) {
      const { as, times } = fault;
      const target = agent(fault.agent);
      target.mark(as);
      target.faults.set(as, target.apiServer.on(matchOf(fault), faultOf(fault), times));
    }
    if (heal === undefined) return;
    const rule = [...this.#agents.values()].map(({ faults }) => faults.get(heal)).find((one) => one !== undefined);
    if (rule === undefined) throw new Error(`there is no fault ${heal}`);
    rule.remove();
  }

  #controlled(control: Control): Service {
    return typeof control === 'string' ? this.service(control) : this.service(control.program, control.agent);
  }

  async #webhook(step: NonNullable<Step['webhook']>): Promise<void> {
    const webhook = await Webhook.listen(step);
    await this.#webhooks.get(step.as)?.[Symbol.asyncDispose]();
    this.#webhooks.set(step.as, webhook);
    const configuration = JSON.stringify(webhook.configuration(this.namespace));
    this.#remember(await this.api.apply(configuration, 'scenario', true));
    if (step.answer === 'gone') await webhook[Symbol.asyncDispose]();
  }

  async #operate(step: OperateStep): Promise<void> {
    const { tenant, project } = this.agent(step.agent);
    const unit = step.unit ?? project.onlyUnit();
    await this.fleet.stack.api.operate(tenant.agent.name, unit, operationOf(step, project), NEVER);
  }

  async #etcd(action: 'snapshot' | 'restore'): Promise<void> {
    const { ownCluster } = this.#options;
    if (ownCluster === undefined) throw new Error('etcd can be set back in a scenario with "cluster: own" only');
    if (action === 'snapshot') await ownCluster.snapshotEtcd(NEVER);
    else await ownCluster.restoreEtcd(NEVER);
  }
}

function operationOf({ suspend, resume, unpin, pin, confirm_prune: confirmed }: OperateStep, project: Project): UnitOperation {
  if (pin !== undefined) return { type: 'pin', commitId: project.idOf(pin) };
  if (confirmed !== undefined) return { type: 'confirmPrune', commitId: project.idOf(confirmed) };
  return { type: suspend ? 'suspend' : resume ? 'resume' : unpin ? 'unpin' : 'resync' };
}

function observes(step: Step): boolean {
  const networks = [step.cut, step.pause, step.resume].filter((one) => one !== undefined);
  return (
    Object.entries(step).some(([action, value]) => value !== undefined && OBSERVING.has(action)) ||
    networks.some((network) => (typeof network === 'string' ? network : network.to) === 'cluster') ||
    step.expect?.requests !== undefined
  );
}

interface Breakable {
  cut(): void;
  pause(): void;
  resume(): void;
}

function networkOf(network: Network, agent: (name?: string) => Agent): Breakable {
  const { to, agent: name } = typeof network === 'string' ? { to: network, agent: undefined } : network;
  return to === 'kas' ? agent(name).kasNetwork : agent(name).apiNetwork;
}
