import { ask, type KubeHttps, kubeHttps } from './kube-https.ts';
import { waitUntil } from './wait-until.ts';

/** A live object, as far as a reader cares. */
export interface Seen {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation?: number;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly managedFields?: readonly { readonly manager?: string; readonly operation?: string; readonly time?: string }[];
  };
  readonly [field: string]: unknown;
}

/** Reads the API server over plain HTTPS, apart from all code under test: what it says is what the cluster is. */
export class ApiReader implements Disposable {
  readonly #https: KubeHttps;

  constructor(kubeconfigPath: string) {
    this.#https = kubeHttps(kubeconfigPath);
  }

  /** The object, or undefined when there is none. */
  async get(path: string): Promise<Seen | undefined> {
    const { status, text } = await ask(this.#https, { path, timeoutMs: 10_000 });
    if (status === 404) return undefined;
    if (status !== 200) throw new Error(`GET ${path} answered ${status}: ${text.slice(0, 200)}`);
    return JSON.parse(text) as Seen;
  }

  async list(path: string): Promise<readonly Seen[]> {
    const list = await this.get(path);
    if (list === undefined) return [];
    return (list as unknown as { items: Seen[] }).items;
  }

  /** Reads every 5 ms until the object is as wished; resolves with it. */
  async until(
    path: string,
    wish: (object: Seen | undefined) => unknown,
    what: string,
    timeoutMs = 30_000,
  ): Promise<Seen | undefined> {
    const found = await waitUntil(
      async () => {
        const object = await this.get(path);
        return wish(object) ? { object } : undefined;
      },
      { timeoutMs, intervalMs: 5, what },
    );
    return found.object;
  }

  [Symbol.dispose](): void {
    this.#https.agent.destroy();
  }
}
