import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestCluster } from '../harness/cluster.ts';
import type { Program } from '../harness/process.ts';
import type { UnpackedImage } from '../image/unpacked-image.ts';
import { type Container, type Pod, PodSource, writeFiles } from './pod.ts';
import type { ApiServerAddress } from './sources-runtime.ts';

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Does for one pod what a node does, with the programs of the image: files, variables and token come from the cluster to where
 * the pod mounts them in the image's root, and the commands run there as they stand in the pod, as the image's user. The
 * pods of an installation share one root, in which their files have places of their own.
 */
export class ImageRuntime {
  readonly #cluster: TestCluster;
  readonly #pod: Pod;
  readonly #image: UnpackedImage;
  readonly #apiServer: ApiServerAddress;
  #env: Promise<Record<string, string>> | undefined;

  constructor(options: {
    readonly cluster: TestCluster;
    readonly pod: Pod;
    readonly image: UnpackedImage;
    readonly apiServer: ApiServerAddress;
  }) {
    this.#cluster = options.cluster;
    this.#pod = options.pod;
    this.#image = options.image;
    this.#apiServer = options.apiServer;
  }

  async start(): Promise<Program> {
    for (const container of this.#pod.spec.initContainers ?? []) {
      await this.#mount(container);
      const [command = '', ...args] = commandOf(container);
      await this.#image.run(command, ...args);
    }
    const container = this.#container();
    this.#env ??= this.#mount(container);
    const [command = '', ...args] = commandOf(container);
    return await this.#image.start(command, args, await this.#env);
  }

  async exec([command = '', ...args]: readonly string[]): Promise<string> {
    return await this.#image.run(command, ...args);
  }

  async path(inside: string): Promise<string> {
    return await Promise.resolve(join(this.#image.root, inside));
  }

  /** Puts the volumes where the container has them; its environment. */
  async #mount(container: Container): Promise<Record<string, string>> {
    const source = new PodSource(this.#cluster, this.#pod);
    const env = await source.environment(container);
    for (const { name, mountPath } of container.volumeMounts ?? []) {
      const folder = join(this.#image.root, mountPath);
      const content = await source.volume(name);
      await mkdir(folder, { recursive: true });
      if (!('folder' in content)) await writeFiles(folder, content);
      await this.#image.own(folder);
      if (mountPath !== SERVICE_ACCOUNT) continue;
      const { host, port, caFile } = this.#apiServer;
      if (caFile !== undefined) await writeFiles(folder, { 'ca.crt': await readFile(caFile, 'utf8') });
      await this.#image.own(folder);
      // As the kubelet names the API server to every container.
      Object.assign(env, { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: String(port) });
    }
    return env;
  }

  #container(): Container {
    const [container] = this.#pod.spec.containers;
    if (container === undefined) throw new Error('The pod has no container');
    return container;
  }
}

function commandOf({ command, args = [] }: Container): readonly string[] {
  return [...command, ...args];
}
