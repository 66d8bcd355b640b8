import { loadAll } from 'js-yaml';
import type { Seen } from '../harness/api-reader.ts';
import { ask, type HttpsAnswer, type KubeHttps, kubeHttps } from '../harness/kube-https.ts';
import { waitUntil } from '../harness/wait-until.ts';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

interface Resource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

export type PatchKind = 'merge' | 'strategic' | 'json' | 'apply';

const CONTENT_TYPES: Readonly<Record<PatchKind, string>> = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
};
const DISCOVERY = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
/** While a kind or namespace that has just been made is not there for everybody yet. */
const SETTLE_MS = 20_000;

/** The API server as people and other programs use it, by plain requests, with objects by their names: `Deployment.apps web`. */
export class LiveApi implements Disposable {
  readonly #https: KubeHttps;
  readonly #namespace: string;
  #resources: readonly Resource[] = [];

  constructor(kubeconfigPath: string, namespace: string) {
    this.#https = kubeHttps(kubeconfigPath);
    this.#namespace = namespace;
  }

  /** The object, or undefined when there is none or nobody serves its kind. */
  async get(ref: string): Promise<Seen | undefined> {
    const path = await this.#path(ref);
    if (path === undefined) return undefined;
    const { status, text } = await ask(this.#https, { path });
    if (status === 404) return undefined;
    return parse('GET', path, { status, text }) as Seen;
  }

  /** Names of the objects of a kind in the scenario's namespace. */
  async names(kind: string): Promise<readonly string[]> {
    const resource = await this.#resource(kind);
    if (resource === undefined) return [];
    const path = collection(resource, this.#namespace);
    const { items } = parse('GET', path, await ask(this.#https, { path })) as { items: Seen[] };
    return items.map(({ metadata }) => metadata.name).filter((name) => name !== 'kube-root-ca.crt' && name !== 'default');
  }

  /** Creates every document of the text. */
  async create(text: string, manager: string): Promise<readonly Manifest[]> {
    return await this.#each(text, async (manifest, resource) => {
      const path = `${collection(resource, manifest.metadata.namespace ?? this.#namespace)}?fieldManager=${manager}`;
      await this.#succeed('POST', path, manifest, 'application/json');
    });
  }

  /** Server-side apply of every document of the text. */
  async apply(text: string, manager: string, force: boolean): Promise<readonly Manifest[]> {
    return await this.#each(text, async (manifest, resource) => {
      const { name, namespace = this.#namespace } = manifest.metadata;
      const path = `${collection(resource, namespace)}/${name}?fieldManager=${manager}&force=${force}`;
      await this.#succeed('PATCH', path, manifest, CONTENT_TYPES.apply);
    });
  }

  async patch(ref: string, kind: PatchKind, patch: unknown, manager: string, subresource?: string): Promise<void> {
    const path = `${await this.#served(ref)}${subresource === undefined ? '' : `/${subresource}`}?fieldManager=${manager}`;
    await this.#succeed('PATCH', path, patch, CONTENT_TYPES[kind]);
  }

  /** Deletes the object if it is there. */
  async delete(ref: string, propagationPolicy: string): Promise<void> {
    const path = await this.#path(ref);
    if (path === undefined) return;
    const answer = await ask(this.#https, {
      method: 'DELETE',
      path,
      body: { kind: 'DeleteOptions', apiVersion: 'v1', propagationPolicy },
    });
    if (answer.status !== 404) parse('DELETE', path, answer);
  }

  /** Deletes every cluster-scoped object with the label, without waiting. */
  async deleteClusterScoped(labelSelector: string): Promise<void> {
    await this.#discover();
    for (const resource of this.#resources.filter(({ namespaced }) => !namespaced)) {
      const path = collection(resource, '');
      const answer = await ask(this.#https, { path: `${path}?labelSelector=${encodeURIComponent(labelSelector)}` });
      if (answer.status !== 200) continue;
      for (const { metadata } of (JSON.parse(answer.text) as { items: Seen[] }).items)
        await ask(this.#https, { method: 'DELETE', path: `${path}/${metadata.name}` });
    }
  }

  [Symbol.dispose](): void {
    this.#https.agent.destroy();
  }

  async #each(text: string, act: (manifest: Manifest, resource: Resource) => Promise<void>): Promise<readonly Manifest[]> {
    const manifests = loadAll(text).filter((document) => document !== null) as Manifest[];
    for (const manifest of manifests) {
      const slash = manifest.apiVersion.indexOf('/');
      const kind = slash < 0 ? manifest.kind : `${manifest.kind}.${manifest.apiVersion.slice(0, slash)}`;
      const find = async (): Promise<Resource | undefined> => await this.#resource(kind);
      const resource = await waitUntil(find, { what: `${kind} to be served`, timeoutMs: SETTLE_MS });
      await act(manifest, { ...resource, version: manifest.apiVersion.slice(slash + 1) });
    }
    return manifests;
  }

  async #served(ref: string): Promise<string> {
    return await waitUntil(async () => await this.#path(ref), { what: `the kind of ${ref} to be served`, timeoutMs: SETTLE_MS });
  }

  async #path(ref: string): Promise<string | undefined> {
    const { kind, namespace = this.#namespace, name } = parseRef(ref);
    const resource = await this.#resource(kind);
    return resource === undefined ? undefined : `${collection(resource, namespace)}/${name}`;
  }

  /** `kind` with or without its group. Built-in groups come first in discovery. */
  async #resource(kind: string): Promise<Resource | undefined> {
    const find = (): Resource | undefined =>
      this.#resources.find((one) => one.kind === kind || `${one.kind}.${one.group}` === kind);
    const known = find();
    if (known !== undefined) return known;
    await this.#discover();
    return find();
  }

  async #discover(): Promise<void> {
    const lists = await Promise.all(
      ['/api', '/apis'].map(async (path) => {
        const answer = await ask(this.#https, { path, accept: DISCOVERY });
        return parse('GET', path, answer) as unknown as DiscoveryList;
      }),
    );
    this.#resources = lists.flatMap(({ items }) => items.flatMap(resourcesOf));
  }

  /** Not found is tried again: what it needs may have been made a moment ago. */
  async #succeed(method: string, path: string, body: unknown, contentType: string): Promise<void> {
    const attempt = async (): Promise<HttpsAnswer | undefined> => {
      const answer = await ask(this.#https, { method, path, body, contentType });
      return answer.status === 404 ? undefined : answer;
    };
    const answer = await waitUntil(attempt, { what: `${method} ${path} to find its object`, timeoutMs: SETTLE_MS });
    parse(method, path, answer);
  }
}

interface DiscoveryList {
  readonly items: readonly DiscoveryGroup[];
}

interface DiscoveryGroup {
  readonly metadata?: { readonly name?: string };
  readonly versions: readonly {
    readonly version: string;
    readonly resources?: readonly { resource: string; scope: string; responseKind?: { kind: string } | null }[];
  }[];
}

function resourcesOf({ metadata, versions }: DiscoveryGroup): Resource[] {
  return versions.flatMap(({ version, resources = [] }) =>
    resources.flatMap(({ resource, scope, responseKind }) => {
      if (responseKind === undefined || responseKind === null) return [];
      const group = metadata?.name ?? '';
      return [{ group, version, kind: responseKind.kind, plural: resource, namespaced: scope === 'Namespaced' }];
    }),
  );
}

/** @throws Error for what is no reference; the schema has checked those of scenario files */
export function parseRef(ref: string): { readonly kind: string; readonly namespace: string | undefined; readonly name: string } {
  const [kind = '', rest = ''] = ref.split(' ');
  const slash = rest.indexOf('/');
  return { kind, namespace: slash < 0 ? undefined : rest.slice(0, slash), name: rest.slice(slash + 1) };
}

function collection({ group, version, plural, namespaced }: Resource, namespace: string): string {
  const base = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  return namespaced ? `${base}/namespaces/${namespace}/${plural}` : `${base}/${plural}`;
}

function parse(method: string, path: string, { status, text }: HttpsAnswer): object {
  if (status >= 300) throw new Error(`${method} ${path} answered ${status}: ${text.slice(0, 500)}`);
  return JSON.parse(text) as object;
}
