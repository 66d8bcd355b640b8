import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { join } from 'node:path';
import { AbortScope } from '../../lib/abort.ts';
import { freePort, isFreePort } from '../harness/free-port.ts';
import { type ReapedProcess, spawnReaped } from '../harness/reaped-process.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { type Binaries, ensureBinaries, type Progress, progressOnStderr } from './binaries.ts';
import {
  type Component,
  etcd,
  files,
  kubeApiserver,
  kubeControllerManager,
  kubeletRules,
  kubeScheduler,
  kwok,
  type Layout,
} from './components.ts';
import { createOwnedDirectory, recordProcess, removeLeftovers } from './leftovers.ts';

export interface ControlPlaneOptions {
  /** How many nodes kwok plays; 2 when absent. */
  readonly nodes?: number;
  /** Further flags of kube-apiserver. */
  readonly apiServerArgs?: readonly string[];
  /** Told what a build of the programs does; standard error when absent. */
  readonly progress?: Progress;
}

const READY_TIMEOUT_MS = 60_000;
const START_ATTEMPTS = 3;

/**
 * Starts etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok on free ports of 127.0.0.1. Resolves
 * when the API is ready, the default namespace has its service account and every node is Ready. Everything ends with
 * `stop()` or with this process, whatever ends it. `signal` only ends the start.
 */
export async function startControlPlane(options: ControlPlaneOptions, signal: AbortSignal): Promise<ControlPlane> {
  const progress = options.progress ?? progressOnStderr;
  const binaries = await ensureBinaries(progress, signal);
  await removeLeftovers();
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(binaries, options, signal);
    } catch (error) {
      // Somebody else may take a port between its choice and its use, or the machine be too busy for a moment.
      if (signal.aborted || attempt === START_ATTEMPTS) throw error;
      progress(`${(error as Error).message}\nstarting the control plane again …`);
    }
  }
}

async function startOnce(binaries: Binaries, options: ControlPlaneOptions, signal: AbortSignal): Promise<ControlPlane> {
  const controlPlane = new ControlPlane(binaries, {
    directory: await createOwnedDirectory(),
    etcdPort: await freePort(),
    etcdPeerPort: await freePort(),
    apiServerPort: await freePort(),
    kubeletPort: await freePort(),
    apiServerArgs: options.apiServerArgs ?? [],
  });
  try {
    await controlPlane.start(options.nodes ?? 2, signal);
  } catch (error) {
    await controlPlane.stop();
    throw error;
  }
  return controlPlane;
}

/** A running cluster without containers: real API, real controllers, pretended nodes. */
export class ControlPlane implements AsyncDisposable {
  readonly directory: string;
  /** Kubeconfig of a cluster administrator; it holds a token, so its mode is 0600. */
  readonly kubeconfigPath: string;
  readonly kubectlPath: string;
  readonly server: string;
  readonly token = randomBytes(24).toString('hex');
  readonly caFile: string;
  readonly apiServerLogFile: string;
  readonly #binaries: Binaries;
  readonly #layout: Layout;
  readonly #processes = new Map<string, ReapedProcess>();
  #ca = '';

  constructor(binaries: Binaries, layout: Layout) {
    const at = files(layout.directory);
    this.#binaries = binaries;
    this.#layout = layout;
    this.directory = layout.directory;
    this.kubeconfigPath = at.adminKubeconfig;
    this.kubectlPath = binaries.kubectl;
    this.server = `https://127.0.0.1:${layout.apiServerPort}`;
    this.caFile = at.ca;
    this.apiServerLogFile = join(at.logs, 'kube-apiserver.log');
  }

  /** Part of `startControlPlane`. */
  async start(nodes: number, signal: AbortSignal): Promise<void> {
    const layout = this.#layout;
    await this.#writeCredentials();
    await this.#spawn(etcd(this.#binaries, layout));
    await this.#spawn(kubeApiserver(this.#binaries, layout));
    await this.#waitFor('kube-apiserver', 'its certificate', async () => await this.#readCa(), signal);
    await this.#writeKubeconfig();
    await this.#waitFor('kube-apiserver', 'the API to be ready', async () => await this.#isReady(signal), signal);
    for (const component of [kubeControllerManager, kubeScheduler, kwok]) await this.#spawn(component(this.#binaries, layout));
    await this.#createNodes(nodes, signal);
    await Promise.all([
      this.#waitFor(
        'kube-controller-manager',
        'the default service account',
        async () => await this.#hasServiceAccount(signal),
        signal,
      ),
      this.#waitFor('kwok', `${nodes} ready nodes`, async () => (await this.#readyNodes(signal)) === nodes, signal),
    ]);
  }

  /** Kills the API server without warning and starts it again on the same port; resolves when it is ready. */
  async restartApiServer(signal: AbortSignal): Promise<void> {
    await this.#processes.get('kube-apiserver')?.killGroup();
    // Its shell may be gone a moment before the process itself, which then still holds the port.
    const { apiServerPort } = this.#layout;
    await waitUntil(async () => await isFreePort(apiServerPort), { what: `port ${apiServerPort} to be free` }, signal);
    await this.#spawn(kubeApiserver(this.#binaries, this.#layout));
    await this.#waitFor('kube-apiserver', 'the API to be ready', async () => await this.#isReady(signal), signal);
  }

  /** Keeps what etcd holds now; a later snapshot takes its place. The API is away for a moment. */
  async snapshotEtcd(signal: AbortSignal): Promise<void> {
    await this.#processes.get('etcd')?.killGroup();
    await rm(this.#snapshot, { recursive: true, force: true });
    await cp(files(this.directory).etcdData, this.#snapshot, { recursive: true });
    await this.#spawn(etcd(this.#binaries, this.#layout));
    await this.#waitFor('etcd', 'the API to be ready', async () => await this.#isReady(signal), signal);
  }

  /**
   * Puts back what `snapshotEtcd` kept, as after a disaster: resource versions count on from there a second time. All
   * other components start anew.
   */
  async restoreEtcd(signal: AbortSignal): Promise<void> {
    const others = [kubeControllerManager, kubeScheduler, kwok];
    await Promise.all([...this.#processes.values()].map(async (process) => await process.killGroup()));
    this.#processes.clear();
    await rm(files(this.directory).etcdData, { recursive: true });
    await cp(this.#snapshot, files(this.directory).etcdData, { recursive: true });
    for (const component of [etcd, kubeApiserver]) await this.#spawn(component(this.#binaries, this.#layout));
    await this.#waitFor('kube-apiserver', 'the API to be ready', async () => await this.#isReady(signal), signal);
    for (const component of others) await this.#spawn(component(this.#binaries, this.#layout));
  }

  get #snapshot(): string {
    return join(this.directory, 'etcd-snapshot');
  }

  /** Kills all components and removes the directory. May be called again. */
  async stop(): Promise<void> {
    await Promise.all([...this.#processes.values()].map(async (process) => await process.killGroup()));
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #spawn({ name, command, args }: Component): Promise<void> {
    const log = openSync(this.#logFile(name), 'a');
    try {
      const process = await spawnReaped(command, args, { output: log, cwd: this.directory, unref: true });
      this.#processes.set(name, process);
      await recordProcess(this.directory, name, process.pid, process.groupId);
    } finally {
      closeSync(log);
    }
  }

  /** Waits for what a component brings about; fails at once, with the end of its log, when a component has ended. */
  async #waitFor(component: string, what: string, condition: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
    using scope = new AbortScope(signal);
    for (const [name, process] of this.#processes) {
      void process.exited.then(({ code, signal: by }) => scope.abort(new Error(`${name} ended (${by ?? `exit code ${code}`})`)));
    }
    try {
      await waitUntil(condition, { what, timeoutMs: READY_TIMEOUT_MS, intervalMs: 20 }, scope.signal);
    } catch (error) {
      signal.throwIfAborted();
      const ended = [...this.#processes].find(([, process]) => process.hasExited)?.[0] ?? component;
      const tail = (await readFile(this.#logFile(ended), 'utf8')).trimEnd().split('\n').slice(-15).join('\n');
      throw new Error(`the control plane did not start: ${(error as Error).message}\n${tail}`, { cause: error });
    }
  }

  #logFile(component: string): string {
    return join(files(this.directory).logs, `${component}.log`);
  }

  async #writeCredentials(): Promise<void> {
    const at = files(this.directory);
    const { publicKey, privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    });
    await mkdir(at.logs);
    await writeFile(at.serviceAccountKey, privateKey, { mode: 0o600 });
    await writeFile(at.serviceAccountPublicKey, publicKey);
    await writeFile(at.kubelet, kubeletRules(this.#layout));
    await writeFile(at.podLog, '');
    await writeFile(at.tokens, `${this.token},admin,admin,"system:masters"\n`, { mode: 0o600 });
  }

  async #readCa(): Promise<boolean> {
    this.#ca = await readFile(this.caFile, 'utf8');
    // The leaf comes first, the authority that signed it second.
    return this.#ca.split('END CERTIFICATE').length > 2;
  }

  async #writeKubeconfig(): Promise<void> {
    const text = `apiVersion: v1
kind: Config
current-context: test
contexts:
- name: test
  context: {cluster: test, user: admin}
clusters:
- name: test
  cluster:
    server: ${this.server}
    certificate-authority-data: ${Buffer.from(this.#ca).toString('base64')}
users:
- name: admin
  user: {token: ${this.token}}
`;
    await writeFile(this.kubeconfigPath, text, { mode: 0o600 });
  }

  async #isReady(signal: AbortSignal): Promise<boolean> {
    return (await this.#get('/readyz', signal)) === 'ok' && (await this.#get('/api/v1/namespaces/default', signal)) !== '';
  }

  async #hasServiceAccount(signal: AbortSignal): Promise<boolean> {
    return (await this.#get('/api/v1/namespaces/default/serviceaccounts/default', signal)) !== '';
  }

  async #readyNodes(signal: AbortSignal): Promise<number> {
    const { items } = JSON.parse(await this.#get('/api/v1/nodes', signal)) as { items: NodeStatus[] };
    const isReady = ({ status }: NodeStatus): boolean =>
      status.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') === true;
    return items.filter(isReady).length;
  }

  async #createNodes(count: number, signal: AbortSignal): Promise<void> {
    for (let index = 0; index < count; index++) {
      const name = `node-${index}`;
      const labels = { 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64' };
      await this.#send('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name, labels } }, signal);
    }
  }

  async #get(path: string, signal: AbortSignal): Promise<string> {
    return await this.#send('GET', path, undefined, signal);
  }

  /** The answer's text; rejects when the API server is not there or its status is not 2xx. */
  async #send(method: string, path: string, body: unknown, signal: AbortSignal): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const headers = { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' };
    const call = request(`${this.server}${path}`, { method, headers, ca: this.#ca, agent: false, signal }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8');
        const status = response.statusCode ?? 0;
        if (status >= 200 && status < 300) resolve(text);
        else reject(new Error(`${method} ${path}: ${status}`));
      });
    });
    call.on('error', reject);
    call.end(body === undefined ? undefined : JSON.stringify(body));
    return await promise;
  }
}

interface NodeStatus {
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}
