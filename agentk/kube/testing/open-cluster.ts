import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { createLogger } from '../../../lib/log.ts';
import { waitUntil } from '../../../test/harness/wait-until.ts';
import type { LiveObject, ObjectRef, ResourceType, WatchEvent } from '../cluster.ts';
import { KubeCluster, type KubeClusterDeps } from '../kube-cluster.ts';
import { loadKubeConfig } from '../kube-config.ts';

export interface OpenedCluster {
  readonly cluster: KubeCluster;
  /** Messages and reasons that were logged, in one text. */
  readonly logged: () => string;
}

type TestOptions = Pick<KubeClusterDeps, 'watchTimings' | 'retryForMs' | 'retryRefusedForMs'>;

/** A cluster of which the kinds are known already. */
export async function openCluster(kubeconfig: string, options: TestOptions = {}): Promise<OpenedCluster> {
  let text = '';
  const sink = new Writable({
    write: (chunk, _encoding, done) => {
      text += String(chunk);
      done();
    },
  });
  const log = createLogger('test', 'debug', sink);
  const cluster = new KubeCluster({ config: loadKubeConfig({ kubeconfig }), log, ...options });
  await cluster.discover(AbortSignal.timeout(20_000));
  return { cluster, logged: () => text };
}

/** A copy of the kubeconfig whose server is reached by another port of this machine. */
export async function writeKubeconfigFor(port: number, kubeconfig: string, directory: string): Promise<string> {
  const file = join(directory, `kubeconfig-${port}`);
  const text = await readFile(kubeconfig, 'utf8');
  await writeFile(file, text.replace(/server: \S+/, `server: https://127.0.0.1:${port}`), { mode: 0o600 });
  return file;
}

export function typeOf(cluster: KubeCluster, kind: string, group = ''): ResourceType {
  const type = cluster.resourceType(group, kind);
  if (type === undefined) throw new Error(`${kind} is not served`);
  return type;
}

export function configMapBody(ref: ObjectRef, data: Record<string, string>, labels: Record<string, string> = {}): string {
  const metadata = { name: ref.name, namespace: ref.namespace, labels };
  return JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data });
}

const NEVER = new AbortController().signal;

/** Follows a watch in the background and keeps what came. */
export class WatchRecorder implements AsyncDisposable {
  readonly events: WatchEvent[] = [];
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  /** Why the watch ended; undefined while it runs. */
  ended: unknown;

  constructor(watch: (signal: AbortSignal) => AsyncIterable<WatchEvent>) {
    this.#done = this.#run(watch);
  }

  /** Events as text: `ADDED name`, `SYNCED name,name`. */
  get lines(): readonly string[] {
    return this.events.map((event) =>
      event.type === 'SYNCED'
        ? `SYNCED ${[...event.keys]
            .map((key) => key.slice(key.indexOf('/') + 1))
            .toSorted()
            .join(',')}`.trim()
        : `${event.type} ${event.object.metadata.name}`,
    );
  }

  async waitFor(line: string, count = 1): Promise<void> {
    const seen = (): boolean => this.lines.filter((other) => other === line).length >= count;
    await waitUntil(seen, { what: `"${line}" ${count} times, among ${this.lines.join('; ')}`, timeoutMs: 20_000, intervalMs: 5 });
  }

  /** Until the watch gives up by itself. */
  async waitForEnd(): Promise<void> {
    await waitUntil(() => this.ended, { what: 'the watch to end', timeoutMs: 20_000, intervalMs: 5 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new DOMException('The test is done', 'AbortError'));
    await this.#done;
  }

  async #run(watch: (signal: AbortSignal) => AsyncIterable<WatchEvent>): Promise<void> {
    try {
      for await (const event of watch(this.#stop.signal)) this.events.push(event);
    } catch (error) {
      this.ended = error;
    }
  }
}

export const OPTIONS = { fieldManager: 'agentk-test', force: true } as const;

/** Applies a ConfigMap that differs from the one before. */
export async function apply(
  cluster: KubeCluster,
  namespace: string,
  name: string,
  labels: Record<string, string>,
): Promise<LiveObject> {
  const ref = { type: typeOf(cluster, 'ConfigMap'), namespace, name };
  return (await cluster.apply(ref, configMapBody(ref, { at: `${performance.now()}` }, labels), OPTIONS, NEVER)).object;
}

/** Deletes a ConfigMap as it is now. */
export async function remove(cluster: KubeCluster, namespace: string, name: string): Promise<void> {
  const ref = { type: typeOf(cluster, 'ConfigMap'), namespace, name };
  const { uid, resourceVersion } = (await cluster.get(ref, NEVER)).metadata;
  await cluster.delete(ref, { uid, resourceVersion, propagationPolicy: 'Background' }, NEVER);
}

/** Follows ConfigMaps that carry the label. */
export function follow(cluster: KubeCluster, labelSelector: string): WatchRecorder {
  const type = typeOf(cluster, 'ConfigMap');
  return new WatchRecorder((stop) => cluster.watch(type, { labelSelector }, stop));
}

export function portOf(kubeconfigText: string): number {
  return Number(new URL(/server: (\S+)/.exec(kubeconfigText)?.[1] ?? '').port);
}
