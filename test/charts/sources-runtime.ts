import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TestCluster } from '../harness/cluster.ts';
import { type Program, startProgram } from '../harness/process.ts';
import { type Container, type Pod, PodSource, writeFiles } from './pod.ts';

const REPOSITORY = join(import.meta.dirname, '../..');

/** What the image's commands are in a checkout. */
const MAINS: Readonly<Record<string, string>> = {
  kas: 'kas/main.ts',
  agentk: 'agentk/main.ts',
  'kas-gitserver': 'kas/gitserver/main.ts',
};

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

export interface ApiServerAddress {
  readonly host: string;
  readonly port: number;
  /** PEM file with its authority, where that is not the cluster's own. */
  readonly caFile?: string;
}

/** A container as processes see it: where its volumes are, and what its environment is. */
interface Sandbox {
  /** Folder by mount path. */
  readonly mounts: ReadonlyMap<string, string>;
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Does for one pod what a node does: gets its files, variables and token from the cluster and runs its commands with exactly
 * the arguments that it names. The programs are those of this checkout, so paths of volumes lead to folders of the test.
 */
export class PodRuntime {
  readonly #cluster: TestCluster;
  readonly #pod: Pod;
  readonly #directory: string;
  readonly #apiServer: ApiServerAddress;
  /** Made once: files must not change under programs that read them. */
  readonly #sandboxes = new Map<string, Promise<Sandbox>>();

  constructor(options: {
    readonly cluster: TestCluster;
    readonly pod: Pod;
    readonly directory: string;
    readonly apiServer: ApiServerAddress;
  }) {
    this.#cluster = options.cluster;
    this.#pod = options.pod;
    this.#directory = join(options.directory, options.pod.metadata.name);
    this.#apiServer = options.apiServer;
  }

  /** Runs the init containers to their end, then starts the pod's container. */
  async start(onLine?: (line: string) => void): Promise<Program> {
    for (const container of this.#pod.spec.initContainers ?? []) await this.#toItsEnd(container, commandOf(container));
    const container = this.#container();
    const { mounts, env } = await this.#sandbox(container);
    const [name = '', ...args] = commandOf(container).map((word) => mapped(word, mounts));
    return await startProgram(MAINS[name] ?? name, args, { env, ...(onLine === undefined ? {} : { onLine }) });
  }

  /** As `kubectl exec` does: standard output of a command in the pod's container. */
  async exec(command: readonly string[]): Promise<string> {
    return await this.#toItsEnd(this.#container(), command);
  }

  /** Where a path of the container is on this machine. */
  async path(inside: string): Promise<string> {
    return mapped(inside, (await this.#sandbox(this.#container())).mounts);
  }

  async #toItsEnd(container: Container, command: readonly string[]): Promise<string> {
    const { mounts, env } = await this.#sandbox(container);
    const [name = '', ...args] = command.map((word) => mapped(word, mounts));
    const options = { cwd: REPOSITORY, env: { ...process.env, ...env } };
    return (await promisify(execFile)(process.execPath, [MAINS[name] ?? name, ...args], options)).stdout;
  }

  #container(): Container {
    const [container] = this.#pod.spec.containers;
    if (container === undefined) throw new Error('The pod has no container');
    return container;
  }

  async #sandbox(container: Container): Promise<Sandbox> {
    const sandbox = this.#sandboxes.get(container.name) ?? this.#createSandbox(container);
    this.#sandboxes.set(container.name, sandbox);
    return await sandbox;
  }

  async #createSandbox(container: Container): Promise<Sandbox> {
    const source = new PodSource(this.#cluster, this.#pod);
    const mounts = new Map<string, string>();
    for (const { name, mountPath } of container.volumeMounts ?? []) {
      const content = await source.volume(name);
      mounts.set(mountPath, 'folder' in content ? String(content.folder) : join(this.#directory, container.name, name));
    }
    for (const { name, mountPath } of container.volumeMounts ?? []) {
      const content = await source.volume(name);
      if ('folder' in content) continue;
      const files = Object.entries(content).map(([file, text]): [string, string] => [file, mappedText(text, mounts)]);
      await writeFiles(mounts.get(mountPath) ?? '', Object.fromEntries(files));
    }
    const token = mounts.get(SERVICE_ACCOUNT);
    const env = await source.environment(container);
    return { mounts, env: token === undefined ? env : { ...env, KUBECONFIG: await this.#kubeconfig(token) } };
  }

  /** agentk in a checkout does not find a service account where pods have it. */
  async #kubeconfig(folder: string): Promise<string> {
    const { host, port, caFile } = this.#apiServer;
    if (caFile !== undefined) await writeFiles(folder, { 'ca.crt': await readFile(caFile, 'utf8') });
    const config = {
      'current-context': 'pod',
      contexts: [{ name: 'pod', context: { cluster: 'pod', user: 'pod' } }],
      clusters: [
        { name: 'pod', cluster: { server: `https://${host}:${port}`, 'certificate-authority': join(folder, 'ca.crt') } },
      ],
      users: [{ name: 'pod', user: { tokenFile: join(folder, 'token') } }],
    };
    await writeFiles(folder, { kubeconfig: JSON.stringify(config) });
    return join(folder, 'kubeconfig');
  }
}

function commandOf({ command, args = [] }: Container): readonly string[] {
  return [...command, ...args];
}

/** A word of a command line with a path at its end: `/etc/x/y`, `--file=/etc/x/y`. */
function mapped(word: string, mounts: Sandbox['mounts']): string {
  for (const [mountPath, folder] of mounts) {
    const at = word.indexOf(mountPath);
    if (at < 0 || (at > 0 && word[at - 1] !== '=')) continue;
    const rest = word.slice(at + mountPath.length);
    if (rest === '' || rest.startsWith('/')) return word.slice(0, at) + folder + rest;
  }
  return word;
}

/** Paths in configuration files, after `key: `. */
function mappedText(text: string, mounts: Sandbox['mounts']): string {
  return text.replace(/(?<=: )\/\S+$/gm, (path) => mapped(path, mounts));
}
