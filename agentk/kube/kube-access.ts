import { createHash } from 'node:crypto';
import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import { abortable } from '../../lib/abort.ts';
import { toError, UserError } from '../../lib/errors.ts';
import { KubeError } from './kube-error.ts';
import { type Environment, parseProxy, proxyFromEnvironment } from './proxy-environment.ts';

/** What a TLS connection to the API server is made with. */
export interface TlsMaterial {
  readonly ca?: Buffer | string;
  readonly cert?: Buffer | string;
  readonly key?: Buffer | string;
  readonly rejectUnauthorized?: boolean;
  /** Name to ask for and to verify instead of the host's. */
  readonly servername?: string;
}

export interface Credentials {
  readonly tls: TlsMaterial;
  /** Same text, same TLS material: tells whether a connection was made with what holds now. */
  readonly tlsDigest: string;
  /** Lower-case names, `authorization` among them. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Where the API server is and how to prove who we are. */
export interface KubeAccess {
  /** `https:` only; its path, if any, precedes every request's. */
  readonly server: URL;
  /** HTTP(S) proxy to tunnel through: the kubeconfig's, or else the environment's. */
  readonly proxy: URL | undefined;
  /** Rejects with a `KubeError` of code 0 when they cannot be had: a plugin that fails, a file that is missing. */
  credentials(signal: AbortSignal): Promise<Credentials>;
  /** The server refused `credentials` (401), or TLS failed with them: the next ones are read afresh from where they come from. */
  renew(credentials: Credentials): void;
}

/** How long what was read is used before files and plugins are asked again. Plugins and token files have caches of their own. */
const FRESH_MS = 5_000;

interface Reading {
  readonly startedAt: number;
  readonly promise: Promise<Credentials>;
  settled?: Credentials;
}

/** Credentials of a kubeconfig's current context. Sources are read again when they may have changed. */
export class KubeConfigAccess implements KubeAccess {
  readonly server: URL;
  readonly proxy: URL | undefined;
  readonly #load: () => KubeConfig;
  #config: KubeConfig;
  #current: Reading | undefined;

  constructor(load: () => KubeConfig, env: Environment) {
    this.#load = load;
    this.#config = load();
    const cluster = this.#config.getCurrentCluster();
    this.server = parseServer(cluster?.server ?? '');
    const proxyUrl = cluster?.proxyUrl || undefined;
    this.proxy =
      proxyUrl === undefined ? proxyFromEnvironment(this.server, env) : parseProxy(proxyUrl, "The kubeconfig's proxy-url");
  }

  async credentials(signal: AbortSignal): Promise<Credentials> {
    const current = this.#current;
    if (current !== undefined && performance.now() - current.startedAt < FRESH_MS) {
      return current.settled ?? (await abortable(current.promise, signal));
    }
    const promise = readCredentials(this.#config);
    const reading: Reading = { startedAt: performance.now(), promise };
    this.#current = reading;
    promise.then(
      (credentials) => {
        reading.settled = credentials;
      },
      () => {
        if (this.#current === reading) this.#current = undefined;
      },
    );
    return await abortable(promise, signal);
  }

  renew(credentials: Credentials): void {
    // Many requests are refused at once; only the first of them makes us read again.
    if (this.#current?.settled !== credentials) return;
    this.#current = undefined;
    try {
      this.#config = this.#load();
    } catch {
      // The file is just being replaced: what we have is refused once more and then read again.
    }
  }
}

async function readCredentials(config: KubeConfig): Promise<Credentials> {
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    throw new KubeError(`No credentials for the API server: ${toError(error).message.trim()}`, { code: 0, cause: error });
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries((options.headers ?? {}) as Record<string, string>)) {
    // Token files end in a line feed as often as not.
    headers[name.toLowerCase()] = value.trim();
  }
  if (typeof options.auth === 'string') headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  const tls = pickTls(options);
  return { tls, tlsDigest: digestTls(tls), headers };
}

function pickTls(options: RequestOptions): TlsMaterial {
  const { ca, cert, key, rejectUnauthorized, servername } = options as TlsMaterial;
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
    ...(servername === undefined ? {} : { servername }),
  };
}

function digestTls(tls: TlsMaterial): string {
  const hash = createHash('sha256');
  for (const part of [tls.ca, tls.cert, tls.key]) hash.update(part ?? '').update('\0');
  return hash.update(`${tls.rejectUnauthorized} ${tls.servername}`).digest('base64');
}

function parseServer(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:') {
    throw new UserError(`The kubeconfig's server must be a URL that starts with https://, and is "${text}"`, {
      reason: 'UnsupportedKubeconfig',
    });
  }
  return url;
}
