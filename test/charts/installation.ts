import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { Repository } from '../e2e/repository.ts';
import { ApiReader } from '../harness/api-reader.ts';
import type { TestCluster } from '../harness/cluster.ts';
import type { FaultProxy } from '../harness/fault-proxy.ts';
import { freePort } from '../harness/free-port.ts';
import { WorkingCopy } from '../harness/git.ts';
import { KasApi } from '../harness/kas-api.ts';
import type { Program } from '../harness/process.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { waitUntil } from '../harness/wait-until.ts';
import type { UnpackedImage } from '../image/unpacked-image.ts';
import { Helm } from './helm.ts';
import { ImageRuntime } from './image-runtime.ts';
import type { Pod } from './pod.ts';
import { PodRuntime } from './sources-runtime.ts';

const NEVER = new AbortController().signal;
const TIMEOUT = ['--wait', '--timeout', '120s'];

export type Values = Readonly<Record<string, unknown>>;

/** Agents of the installation: each has a project of its own, `team/<name>`. */
export interface InstallationOptions {
  readonly cluster: TestCluster;
  readonly agents: readonly string[];
  /** Whose programs run; those of this checkout when absent. */
  readonly image?: UnpackedImage;
}

type Runtime = PodRuntime | ImageRuntime;

/**
 * kas and a git server installed by their chart in the real cluster, and the pods' commands run as processes here. Addresses
 * are chosen by values, since the pods of a real cluster have addresses of their own and these processes share one.
 */
export class Installation implements AsyncDisposable {
  readonly cluster: TestCluster;
  readonly helm: Helm;
  readonly reader: ApiReader;
  readonly namespace: string;
  readonly ports: Readonly<Record<'agents' | 'api' | 'observability' | 'gitaly' | 'http', number>>;
  readonly #directory: TempDir;
  readonly #agents: readonly string[];
  /** Inventories and labels in the cluster carry ids: no two test runs on a cluster may share one. */
  readonly #firstId = Number.parseInt(randomBytes(5).toString('hex'), 16);
  readonly #closing = new AsyncDisposableStack();
  readonly #image: UnpackedImage | undefined;
  #kas: { readonly pod: Runtime; readonly program: Program } | undefined;
  #gitserver: Runtime | undefined;
  #api: KasApi | undefined;

  private constructor(
    options: InstallationOptions,
    directory: TempDir,
    helm: Helm,
    namespace: string,
    ports: Installation['ports'],
  ) {
    this.cluster = options.cluster;
    this.#agents = options.agents;
    this.#image = options.image;
    this.#directory = directory;
    this.helm = helm;
    this.namespace = namespace;
    this.ports = ports;
    this.reader = this.#closing.use(new ApiReader(options.cluster.kubeconfigPath));
  }

  /** helm is built at the first use on a machine. */
  static async open(options: InstallationOptions): Promise<Installation> {
    const directory = await createTempDir();
    const helm = await Helm.open(options.cluster.kubeconfigPath, join(directory.path, 'helm'));
    const namespace = await restrictedNamespace(options.cluster);
    const ports = {
      agents: await freePort(),
      api: await freePort(),
      observability: await freePort(),
      gitaly: await freePort(),
      http: await freePort(),
    };
    const installation = new Installation(options, directory, helm, namespace, ports);
    try {
      await installation.#install();
      return installation;
    } catch (error) {
      await installation[Symbol.asyncDispose]();
      throw error;
    }
  }

  get api(): KasApi {
    if (this.#api === undefined) throw new Error('kas was not installed');
    return this.#api;
  }

  /** Values of kas's chart, with others over them at the top. */
  kasValues(others: Values = {}): Values {
    const { agents, api, observability, gitaly, http } = this.ports;
    return {
      fullnameOverride: 'kas',
      config: {
        agent: { listen: { address: `127.0.0.1:${agents}` } },
        api: { listen: { address: `127.0.0.1:${api}` } },
        observability: { listen: { address: `127.0.0.1:${observability}` } },
      },
      gitserver: {
        enabled: true,
        repositories: this.#agents.map((agent) => `team/${agent}.git`),
        config: {
          listen: { grpc: `127.0.0.1:${gitaly}`, http: `127.0.0.1:${http}` },
          notify: { address: `grpc://127.0.0.1:${api}`, secret_file: '/etc/kas/secrets/api/secret' },
        },
        persistence: { retain: false },
      },
      registry: {
        gitaly_servers: { default: { address: `tcp://127.0.0.1:${gitaly}` } },
        agents: this.#agents.map((name, index) => ({ id: this.#firstId + index, name, project: `team/${name}` })),
        projects: this.#agents.map((name) => ({ path: `team/${name}` })),
      },
      ...others,
    };
  }

  /** Runs helm with values of a file; `upgrade --install` and the like. */
  async release(args: readonly string[], values: Values): Promise<string> {
    const file = join(this.#directory.path, `values-${randomBytes(4).toString('hex')}.json`);
    await writeFile(file, JSON.stringify(values));
    return await this.helm.run(...args, '--values', file, ...TIMEOUT);
  }

  /** Pods of a workload, once there are as many as it wants and all run. */
  async pods(namespace: string, selector: string, count: number): Promise<readonly Pod[]> {
    const running = async (): Promise<readonly Pod[] | undefined> => {
      const list = await this.cluster.kubectl(['-n', namespace, 'get', 'pods', '-l', selector, '-o', 'json']);
      const { items } = JSON.parse(list) as { items: (Pod & { metadata: { deletionTimestamp?: string } })[] };
      const pods = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
      return pods.length === count && pods.every(({ status }) => status?.phase === 'Running') ? pods : undefined;
    };
    return await waitUntil(running, { what: `${count} pods ${selector} in ${namespace}`, timeoutMs: 120_000, intervalMs: 100 });
  }

  /** The pod of a workload that has one. */
  async pod(namespace: string, selector: string): Promise<Pod> {
    const [pod] = await this.pods(namespace, selector, 1);
    if (pod === undefined) throw new Error(`There is no pod ${selector}`);
    return pod;
  }

  /** The node of a pod, before which a proxy may stand for the API server. */
  runtime(pod: Pod, proxy?: FaultProxy): Runtime {
    const apiServer =
      proxy === undefined ? { host: '127.0.0.1', port: 0 } : { host: '127.0.0.1', port: proxy.port, caFile: proxy.caFile };
    if (this.#image !== undefined) return new ImageRuntime({ cluster: this.cluster, pod, image: this.#image, apiServer });
    return new PodRuntime({ cluster: this.cluster, pod, directory: join(this.#directory.path, 'pods'), apiServer });
  }

  /** Starts the command of kas's pod, after that of a former one was stopped. */
  async startKas(): Promise<void> {
    await this.#kas?.program.stop();
    const runtime = this.runtime(await this.pod(this.namespace, 'app.kubernetes.io/component=kas'));
    const program = this.#closing.use(await runtime.start());
    await program.waitForLine(/"msg":"kas is ready"/, 60_000);
    this.#kas = { pod: runtime, program };
  }

  /** A new token for an agent, as NOTES say. */
  async agentToken(agent: string): Promise<string> {
    const command = ['kas', 'token', 'create', '--registry', '/etc/kas/config/registry.yaml', '--agent', agent];
    return ((await this.#kas?.pod.exec(command)) ?? '').trim();
  }

  /** A clone of an agent's project, with a push token that was made as NOTES say. */
  async repository(agent: string, defaultNamespace: string): Promise<Repository> {
    const config = ['--config', '/etc/kas/config/gitserver.yaml'];
    const command = ['kas-gitserver', 'token', 'create', ...config, '--project', `team/${agent}.git`];
    const token = ((await this.#gitserver?.exec(command)) ?? '').trim();
    const url = `http://git:${token}@127.0.0.1:${this.ports.http}/team/${agent}.git`;
    const copy = await WorkingCopy.clone(url, join(this.#directory.path, `clone-${agent}`));
    return new Repository(copy, agent, defaultNamespace);
  }

  /** The status of an agent's unit, once it is as wished. */
  async status(agent: string, wish: (unit: UnitStatus) => boolean, what: string): Promise<UnitStatus> {
    let last: UnitStatus | undefined;
    const find = async (): Promise<UnitStatus | undefined> => {
      last = (await this.api.units(NEVER)).find(({ agentName, unit }) => agentName === agent && unit !== '');
      return last !== undefined && wish(last) ? last : undefined;
    };
    return await waitUntil(find, { what, timeoutMs: 90_000, intervalMs: 50 }).catch((error: Error) => {
      throw new Error(`${error.message}; it was ${inspect(last, { depth: 5 })}`, { cause: error });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#closing.disposeAsync();
    await this.cluster.kubectl(['delete', 'pv', '--ignore-not-found', '--wait=false', ...this.#volumes()]);
    await this.#directory.remove();
  }

  async #install(): Promise<void> {
    await this.#createVolumes();
    await this.release(['install', 'kas', 'kas', '--namespace', this.namespace], this.kasValues());
    this.#gitserver = this.runtime(await this.pod(this.namespace, 'app.kubernetes.io/component=gitserver'));
    const program = this.#closing.use(await this.#gitserver.start());
    await program.waitForLine(/"msg":"Ready"/, 60_000);
    await this.startKas();
    const secret = (await this.#kas?.pod.path('/etc/kas/secrets/api/secret')) ?? '';
    this.#api = this.#closing.use(new KasApi(`127.0.0.1:${this.ports.api}`, secret));
  }

  /** What a provisioner would make for the chart's claims. */
  async #createVolumes(): Promise<void> {
    const volumes = ['kas', 'kas-gitserver'].map((claim, index) => ({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: this.#volumes()[index] },
      spec: {
        capacity: { storage: '10Gi' },
        accessModes: ['ReadWriteOnce'],
        claimRef: { namespace: this.namespace, name: claim },
        hostPath: { path: join(this.#directory.path, 'volumes', claim) },
      },
    }));
    for (const { spec } of volumes) await mkdir(spec.hostPath.path, { recursive: true });
    const list = { apiVersion: 'v1', kind: 'List', items: volumes };
    await this.cluster.kubectl(['create', '-f', '-'], { stdin: JSON.stringify(list) });
  }

  #volumes(): readonly [string, string] {
    return [`${this.namespace}-kas`, `${this.namespace}-gitserver`];
  }
}

/** A namespace where only pods of the restricted profile are admitted. */
export async function restrictedNamespace(cluster: TestCluster): Promise<string> {
  const name = await cluster.namespace();
  await cluster.kubectl(['label', 'namespace', name, 'pod-security.kubernetes.io/enforce=restricted']);
  return name;
}
