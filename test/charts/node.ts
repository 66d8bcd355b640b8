import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { sleep } from '../../lib/abort.ts';
import { isAbort } from '../../lib/errors.ts';
import type { TestCluster } from '../harness/cluster.ts';
import type { Program } from '../harness/process.ts';
import { waitUntil } from '../harness/wait-until.ts';
import type { Pod } from './pod.ts';
import { PodRuntime } from './sources-runtime.ts';

/** What `kubectl exec` and `kubectl port-forward` ask of a node. */
export type Question =
  | { readonly exec: readonly string[]; readonly namespace: string; readonly workload: string }
  | { readonly forward: number; readonly to: number };

/**
 * A node for the pods of some namespaces: runs the command of one pod of each workload as a process here, as soon as the cluster
 * has it, and answers what kubectl asks a node, on a socket.
 */
export class Node implements AsyncDisposable {
  readonly socket: string;
  readonly #cluster: TestCluster;
  readonly #namespaces: readonly string[];
  readonly #directory: string;
  /** Ports of this machine by those that pods are asked at. */
  readonly #ports: ReadonlyMap<number, number>;
  readonly #apiServerPort: number;
  readonly #stop = new AbortController();
  readonly #pods = new Map<string, { readonly runtime: PodRuntime; readonly program: Program }>();
  readonly #server: Server;
  readonly #forwards = new Set<Server>();
  #failure: Error | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: {
    readonly cluster: TestCluster;
    readonly namespaces: readonly string[];
    readonly directory: string;
    readonly ports: ReadonlyMap<number, number>;
    readonly apiServerPort: number;
  }) {
    this.#cluster = options.cluster;
    this.#namespaces = options.namespaces;
    this.#directory = options.directory;
    this.#ports = options.ports;
    this.#apiServerPort = options.apiServerPort;
    this.socket = `${options.directory}/node.sock`;
    this.#server = createServer((socket) => void this.#serve(socket));
  }

  async start(): Promise<void> {
    await rm(this.socket, { force: true });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.listen(this.socket, resolve);
    await promise;
    this.#running = this.#watch(this.#stop.signal).catch((error: Error) => {
      if (!isAbort(error, this.#stop.signal)) this.#failure = error;
    });
  }

  /** What the commands of the pods wrote. */
  get lines(): readonly string[] {
    return [...this.#pods.values()].flatMap(({ program }) => program.lines);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new DOMException('The test ends', 'AbortError'));
    await this.#running;
    for (const { program } of this.#pods.values()) await program[Symbol.asyncDispose]();
    for (const server of [...this.#forwards, this.#server]) server.close();
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (true) {
      for (const namespace of this.#namespaces) await this.#look(namespace);
      await sleep(200, signal);
    }
  }

  async #look(namespace: string): Promise<void> {
    const list = await this.#cluster.kubectl(['-n', namespace, 'get', 'pods', '-o', 'json']).catch(() => '{"items":[]}');
    for (const pod of (JSON.parse(list) as { items: readonly Pod[] }).items) {
      const [container] = pod.spec.containers;
      const workload = `${namespace}/${container?.name}`;
      if (pod.status?.phase !== 'Running' || this.#pods.has(workload)) continue;
      const apiServer = { host: '127.0.0.1', port: this.#apiServerPort };
      const runtime = new PodRuntime({ cluster: this.#cluster, pod, directory: this.#directory, apiServer });
      this.#pods.set(workload, { runtime, program: await runtime.start() });
    }
  }

  async #serve(socket: Socket): Promise<void> {
    socket.on('error', () => undefined);
    // A question is a line.
    const [line] = (await once(createInterface({ input: socket }), 'line')) as [string];
    const answer = await this.#answer(JSON.parse(line) as Question).catch((error: Error) => ({ error: error.message }));
    socket.end(JSON.stringify(answer));
  }

  async #answer(question: Question): Promise<{ readonly stdout: string }> {
    if (this.#failure !== undefined) throw this.#failure;
    if ('forward' in question) return await this.#forward(question.forward, question.to);
    const name = `${question.namespace}/${question.workload}`;
    const pod = await waitUntil(() => this.#pods.get(name), { what: `${name} to run`, timeoutMs: 60_000 });
    return { stdout: await pod.runtime.exec(question.exec.map((word) => this.#here(word))) };
  }

  /** `127.0.0.1:8153` of a pod is another port of this machine. */
  #here(word: string): string {
    const port = /^127\.0\.0\.1:(\d+)$/.exec(word)?.[1];
    return port === undefined ? word : `127.0.0.1:${this.#ports.get(Number(port)) ?? port}`;
  }

  async #forward(port: number, to: number): Promise<{ readonly stdout: string }> {
    const server = createServer((socket) => {
      const upstream = connect(this.#ports.get(to) ?? to, '127.0.0.1');
      for (const end of [socket, upstream]) end.on('error', () => [socket, upstream].forEach((each) => each.destroy()));
      socket.pipe(upstream).pipe(socket);
    });
    this.#forwards.add(server);
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(port, '127.0.0.1', resolve);
    await promise;
    return { stdout: `Forwarding from 127.0.0.1:${port} -> ${to}\n` };
  }
}
