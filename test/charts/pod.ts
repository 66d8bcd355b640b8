import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestCluster } from '../harness/cluster.ts';

/** What of a Pod its node goes by. */
export interface Pod {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string };
  readonly spec: {
    readonly serviceAccountName: string;
    readonly volumes?: readonly Volume[];
    readonly initContainers?: readonly Container[];
    readonly containers: readonly Container[];
  };
  readonly status?: { readonly phase?: string };
}

export interface Container {
  readonly name: string;
  readonly command: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly Variable[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly fieldRef?: { readonly fieldPath: string };
    readonly secretKeyRef?: { readonly name: string; readonly key: string };
  };
}

interface Volume {
  readonly name: string;
  readonly configMap?: { readonly name: string };
  readonly secret?: { readonly secretName: string };
  readonly emptyDir?: object;
  readonly persistentVolumeClaim?: { readonly claimName: string };
  readonly projected?: { readonly sources: readonly object[] };
}

interface Stored {
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly volumeName?: string; readonly hostPath?: { readonly path: string } };
}

/** What a pod's node reads of the cluster to start it: volumes, variables, the token of its service account. */
export class PodSource {
  readonly #cluster: TestCluster;
  readonly #pod: Pod;

  constructor(cluster: TestCluster, pod: Pod) {
    this.#cluster = cluster;
    this.#pod = pod;
  }

  /** Files of a volume by name, or the folder that a claim is bound to. */
  async volume(name: string): Promise<Readonly<Record<string, string>> | { readonly folder: string }> {
    const volume = this.#pod.spec.volumes?.find((candidate) => candidate.name === name);
    if (volume?.configMap !== undefined) return (await this.#get('configmap', volume.configMap.name)).data ?? {};
    if (volume?.secret !== undefined) return decoded(await this.#get('secret', volume.secret.secretName));
    if (volume?.emptyDir !== undefined) return {};
    if (volume?.projected !== undefined) return await this.#serviceAccount();
    const claim = volume?.persistentVolumeClaim?.claimName;
    if (claim === undefined) throw new Error(`Volume ${name} of pod ${this.#pod.metadata.name} is of no known kind`);
    const { volumeName = '' } = (await this.#get('persistentvolumeclaim', claim)).spec ?? {};
    return { folder: (await this.#get('persistentvolume', volumeName)).spec?.hostPath?.path ?? '' };
  }

  async environment(container: Container): Promise<Record<string, string>> {
    const env: Record<string, string> = {};
    for (const { name, value = '', valueFrom } of container.env ?? []) {
      if (valueFrom?.fieldRef !== undefined) env[name] = this.#field(valueFrom.fieldRef.fieldPath);
      else if (valueFrom?.secretKeyRef !== undefined) {
        const { name: secret, key } = valueFrom.secretKeyRef;
        env[name] = decoded(await this.#get('secret', secret))[key] ?? '';
      } else env[name] = value;
    }
    return env;
  }

  /** A token that ends with the pod, as the kubelet asks for it. */
  async #serviceAccount(): Promise<Readonly<Record<string, string>>> {
    const { metadata, spec } = this.#pod;
    const bound = ['--bound-object-kind=Pod', `--bound-object-name=${metadata.name}`, `--bound-object-uid=${metadata.uid}`];
    const token = await this.#cluster.kubectl(['-n', metadata.namespace, 'create', 'token', spec.serviceAccountName, ...bound]);
    const authority = (await this.#get('configmap', 'kube-root-ca.crt')).data ?? {};
    return { token: token.trim(), 'ca.crt': authority['ca.crt'] ?? '', namespace: metadata.namespace };
  }

  #field(path: string): string {
    const { name, namespace, uid } = this.#pod.metadata;
    const value = { 'metadata.name': name, 'metadata.namespace': namespace, 'metadata.uid': uid, 'status.podIP': '127.0.0.1' }[
      path
    ];
    if (value === undefined) throw new Error(`The downward API has no ${path} here`);
    return value;
  }

  async #get(kind: string, name: string): Promise<Stored> {
    const { namespace } = this.#pod.metadata;
    return JSON.parse(await this.#cluster.kubectl(['-n', namespace, 'get', kind, name, '-o', 'json'])) as Stored;
  }
}

/** Writes the files of a volume into a folder. */
export async function writeFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content, { mode: 0o640 });
  }
}

function decoded({ data = {} }: Stored): Record<string, string> {
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]));
}
