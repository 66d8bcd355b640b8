import { FaultProxy } from '../harness/fault-proxy.ts';
import type { Program } from '../harness/process.ts';
import { type Installation, restrictedNamespace, type Values } from './installation.ts';

/** agentk's chart installed in a namespace of its own, and the command of its pod run as a process here. */
export class AgentRelease implements AsyncDisposable {
  readonly name: string;
  /** Of the release. */
  readonly namespace: string;
  /** Sees every request of the agent. */
  readonly proxy: FaultProxy;
  readonly #installation: Installation;
  readonly #port: number;
  #program: Program | undefined;

  private constructor(name: string, namespace: string, proxy: FaultProxy, installation: Installation, port: number) {
    this.name = name;
    this.namespace = namespace;
    this.proxy = proxy;
    this.#installation = installation;
    this.#port = port;
  }

  /** `name` is also the agent's. */
  static async install(installation: Installation, name: string, port: number, values: Values): Promise<AgentRelease> {
    const namespace = await restrictedNamespace(installation.cluster);
    const proxy = await FaultProxy.listen(installation.cluster.kubeconfigPath);
    const release = new AgentRelease(name, namespace, proxy, installation, port);
    try {
      const token = await installation.agentToken(name);
      await installation.release(['install', 'agentk', 'agentk', '--namespace', namespace], release.values(token, values));
      return release;
    } catch (error) {
      await release[Symbol.asyncDispose]();
      throw error;
    }
  }

  values(token: string, others: Values): Values {
    const address = `grpc://127.0.0.1:${this.#installation.ports.agents}`;
    return { kas: { address }, token: { value: token }, observability: { port: this.#port }, ...others };
  }

  /** Runs the command of one of the pods; resolves when it has a session. */
  async start(replicas = 2): Promise<Program> {
    const [pod] = await this.#installation.pods(this.namespace, 'app.kubernetes.io/name=agentk', replicas);
    if (pod === undefined) throw new Error('There is no pod of agentk');
    this.#program = await this.#installation.runtime(pod, this.proxy).start();
    await this.#program.waitForLine(/"msg":"Connected to kas"/, 120_000);
    return this.#program;
  }

  /** Of its log. */
  async waitForLine(pattern: RegExp): Promise<void> {
    await this.#program?.waitForLine(pattern, 60_000);
  }

  /** What the probe says. */
  async ready(): Promise<number> {
    return (await fetch(`http://127.0.0.1:${this.#port}/readiness`)).status;
  }

  async stop(): Promise<void> {
    await this.#program?.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program?.[Symbol.asyncDispose]();
    await this.proxy[Symbol.asyncDispose]();
  }
}
