import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { kubectlPath, progressOnStderr } from '../controlplane/binaries.ts';
import type { BrokerAnswer } from '../jest/cluster-broker.ts';
import { ask, type KubeHttps, kubeHttps } from './kube-https.ts';

export { type ControlPlane, type ControlPlaneOptions, startControlPlane } from '../controlplane/control-plane.ts';

/** The first use on a machine builds the programs. */
const BUILD_TIMEOUT_MS = 30 * 60_000;

/** The real cluster of this test worker. Shared by its test files, so tests keep to namespaces of their own. */
export interface TestCluster {
  /** Kubeconfig of an administrator. */
  readonly kubeconfigPath: string;
  readonly kubectlPath: string;
  /** Creates a namespace with a unique name; it is deleted when the describe block or file is done. */
  namespace(): Promise<string>;
  /** Standard output of kubectl; rejects with what it wrote to standard error. */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<string>;
}

export interface KubectlOptions {
  readonly stdin?: string;
}

/**
 * Called at the top of a describe block or file: registers the hooks that provide a cluster, one per test worker, or the
 * one that KAS_TEST_KUBECONFIG names. What it returns can be used in tests and in hooks registered later.
 */
export function useCluster(): TestCluster {
  let cluster: BrokerAnswer | undefined;
  let https: KubeHttps | undefined;
  const namespaces: string[] = [];
  const inUse = (): BrokerAnswer => {
    if (cluster === undefined)
      throw new Error('The cluster is there in tests and hooks only, after useCluster() was called at the top');
    return cluster;
  };
  const kubectl = async (args: readonly string[], options: KubectlOptions = {}): Promise<string> =>
    await runKubectl(inUse(), args, options.stdin ?? '');

  beforeAll(async () => {
    cluster = await findCluster();
  }, BUILD_TIMEOUT_MS);

  afterAll(async () => {
    https?.agent.destroy();
    if (cluster !== undefined && namespaces.length > 0)
      await kubectl(['delete', 'namespace', '--wait=false', '--ignore-not-found', ...namespaces]);
  });

  return {
    get kubeconfigPath() {
      return inUse().kubeconfigPath;
    },
    get kubectlPath() {
      return inUse().kubectlPath;
    },
    kubectl,
    namespace: async () => {
      const name = `test-${randomBytes(5).toString('hex')}`;
      // Every test makes one, and a process takes longer than a request.
      https ??= kubeHttps(inUse().kubeconfigPath);
      await createNamespace(https, name);
      namespaces.push(name);
      return name;
    },
  };
}

async function findCluster(): Promise<BrokerAnswer> {
  const given = process.env['KAS_TEST_KUBECONFIG'];
  if (given !== undefined && given !== '')
    return { kubeconfigPath: given, kubectlPath: await kubectlPath(progressOnStderr, new AbortController().signal) };
  const broker = process.env['KAS_TEST_BROKER'];
  if (broker === undefined) throw new Error('useCluster() needs the global setup of jest.config.js');
  const answer = JSON.parse(await askBroker(broker, process.env['JEST_WORKER_ID'] ?? '1')) as BrokerAnswer | { error: string };
  if ('error' in answer) throw new Error(answer.error);
  return answer;
}

async function askBroker(path: string, question: string): Promise<string> {
  const socket = connect(path);
  socket.write(`${question}\n`);
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  return answer;
}

async function createNamespace(https: KubeHttps, name: string): Promise<void> {
  const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
  const { status, text } = await ask(https, { method: 'POST', path: '/api/v1/namespaces', body });
  if (status !== 201) throw new Error(`Namespace ${name} was not created: ${text}`);
}

async function runKubectl(cluster: BrokerAnswer, args: readonly string[], stdin: string): Promise<string> {
  const child = spawn(cluster.kubectlPath, args, { env: { ...process.env, KUBECONFIG: cluster.kubeconfigPath } });
  const { promise: exited, resolve, reject } = Promise.withResolvers<number | null>();
  child.once('error', reject);
  child.once('close', resolve);
  // kubectl may end without having read it all; its exit code tells why.
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  const [stdout, stderr, code] = await Promise.all([textOf(child.stdout), textOf(child.stderr), exited]);
  if (code !== 0) throw new Error(stderr.trim() || `kubectl ${args[0]} ended with code ${code}`);
  return stdout;
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
