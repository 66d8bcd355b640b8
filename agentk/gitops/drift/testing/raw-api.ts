import { ask, type KubeHttps, kubeHttps } from '../../../../test/harness/kube-https.ts';
import type { LiveObject } from '../../../kube/cluster.ts';

export type PatchKind = 'merge' | 'strategic' | 'json' | 'apply';

const contentTypes: Readonly<Record<PatchKind, string>> = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
};

export interface RawAnswer {
  readonly status: number;
  readonly body: LiveObject;
}

/** Plain requests to an API server, as people and controllers make them. */
export class RawApi implements Disposable {
  readonly #https: KubeHttps;

  constructor(kubeconfigPath: string) {
    this.#https = kubeHttps(kubeconfigPath);
  }

  async get(path: string): Promise<LiveObject> {
    return await this.#succeed('GET', path, undefined, 'application/json');
  }

  async create(path: string, object: unknown): Promise<LiveObject> {
    return await this.#succeed('POST', path, object, 'application/json');
  }

  async replace(path: string, manager: string, object: unknown): Promise<LiveObject> {
    return await this.#succeed('PUT', `${path}?fieldManager=${manager}`, object, 'application/json');
  }

  async patch(path: string, manager: string, kind: PatchKind, patch: unknown): Promise<LiveObject> {
    const force = kind === 'apply' ? '&force=true' : '';
    return await this.#succeed('PATCH', `${path}?fieldManager=${manager}${force}`, patch, contentTypes[kind]);
  }

  /** Like `patch` by force with `apply`, but with the status code instead of an error. */
  async tryApply(
    path: string,
    manager: string,
    object: unknown,
    options: { readonly dryRun?: boolean } = {},
  ): Promise<RawAnswer> {
    const dryRun = options.dryRun === true ? '&dryRun=All' : '';
    return await this.#request('PATCH', `${path}?fieldManager=${manager}&force=true${dryRun}`, object, contentTypes.apply);
  }

  [Symbol.dispose](): void {
    this.#https.agent.destroy();
  }

  async #succeed(method: string, path: string, body: unknown, contentType: string): Promise<LiveObject> {
    const answer = await this.#request(method, path, body, contentType);
    if (answer.status < 300) return answer.body;
    throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  }

  async #request(method: string, path: string, body: unknown, contentType: string): Promise<RawAnswer> {
    const { status, text } = await ask(this.#https, { method, path, body, contentType });
    // A path that is not served yet is answered in plain text.
    if (!text.startsWith('{')) throw new Error(`${method} ${path} answered ${status}: ${text}`);
    return { status, body: JSON.parse(text) as LiveObject };
  }
}
