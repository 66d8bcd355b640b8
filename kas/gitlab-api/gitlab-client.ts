import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { z } from 'zod';
import { UnavailableError, UserError, type UserErrorKind } from '../../lib/errors.ts';
import { decodeJwtSecret, signJwt } from '../../lib/jwt.ts';
import type { Logger } from '../../lib/log.ts';
import { VERSION } from '../../lib/version.ts';
import { TokenBucket } from '../gitaly/token-bucket.ts';
import { HttpExchange, readBody } from './http-exchange.ts';

export interface GitlabClientOptions {
  /** With the path of a GitLab that is not at the root of its host. */
  readonly address: URL;
  /** Shared with GitLab, 32 bytes. */
  readonly secret: Uint8Array;
  /** PEM; the system's authorities without. */
  readonly ca?: Buffer | undefined;
  readonly rateLimit: { readonly refillPerSecond: number; readonly bucketSize: number };
  readonly headTimeoutMs?: number;
  readonly log: Logger;
}

export interface GitlabRequest {
  readonly method: 'GET' | 'POST';
  /** Below `/api/v4/internal/kubernetes`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Whom the request is made for. */
  readonly agentToken?: string;
  /** Of a CI job that asks for itself; `path` is then below `/api/v4`. */
  readonly jobToken?: string;
  /** The body has a person's token: what GitLab refuses is that, not kas. */
  readonly forUser?: boolean;
  /** Sent as JSON. */
  readonly body?: unknown;
}

/** A request of an agent that is handed through to GitLab. */
export interface ProxiedRequest {
  readonly method: string;
  /** Below `/api/v4/internal/kubernetes`, encoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: OutgoingHttpHeaders;
  readonly body: AsyncIterable<Buffer> | undefined;
  readonly agentToken: string;
}

export interface ProxiedAnswer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingHttpHeaders;
  /** Must be read or destroyed. */
  readonly body: IncomingMessage;
}

const JOB_PREFIX = '/api/v4';
const API_PREFIX = `${JOB_PREFIX}/internal/kubernetes`;
const ISSUER = 'gitlab-kas';
const AUDIENCE = ['gitlab'];
const TOKEN_LIFETIME_S = 5;
const HEAD_TIMEOUT_MS = 20_000;
const BODY_TIMEOUT_MS = 20_000;
const MAX_ANSWER_BYTES = 1 << 20;
const MAX_WAITING = 50_000;
const MAX_WAITING_PROXIED = 1_000;
/** What was found out of kas' own credential holds for so long. */
const CREDENTIAL_CHECK_MS = 10_000;

const REFUSALS: Readonly<Record<number, { readonly kind: UserErrorKind; readonly reason: string; readonly message: string }>> = {
  401: { kind: 'unauthenticated', reason: 'UnknownToken', message: 'GitLab does not know the token' },
  403: { kind: 'forbidden', reason: 'TokenRefused', message: 'GitLab refuses the token' },
  404: { kind: 'not_found', reason: 'NotFound', message: 'GitLab has no such thing, or the token may not see it' },
};

/**
 * Asks GitLab's Rails application (its internal API for kas), signing each request. Errors: UserError `unauthenticated`,
 * `forbidden` or `not_found` where GitLab said so of an agent's token; UnavailableError for everything else that is no
 * answer, a refusal of kas itself included.
 * Source: gitlab-org/gitlab, lib/api/internal/kubernetes.rb.
 */
export class GitlabClient {
  readonly #options: GitlabClientOptions;
  readonly #exchange: HttpExchange;
  readonly #limit: TokenBucket;
  /** For what agents hand through, which takes as long as they like: what kas itself asks never waits behind it. */
  readonly #proxied: HttpExchange;
  readonly #proxiedLimit: TokenBucket;
  readonly #closing = new AbortController();
  #failing = false;
  #credentialCheck: { readonly at: number; readonly holds: Promise<boolean> } | undefined;

  constructor(options: GitlabClientOptions) {
    this.#options = options;
    const { address, ca, headTimeoutMs = HEAD_TIMEOUT_MS, rateLimit } = options;
    const secure = address.protocol === 'https:';
    this.#exchange = new HttpExchange(secure, { ca, headTimeoutMs });
    this.#limit = new TokenBucket({ ...rateLimit, maxWaiting: MAX_WAITING });
    this.#proxied = new HttpExchange(secure, { ca, headTimeoutMs });
    this.#proxiedLimit = new TokenBucket({ ...rateLimit, maxWaiting: MAX_WAITING_PROXIED });
  }

  /** The answer to a request, as far as the schema names it. */
  async json<T>(request: GitlabRequest, schema: z.ZodType<T>, signal: AbortSignal): Promise<T> {
    return await this.#observed(async () => {
      const answer = await this.#send(request, { accept: 'application/json' }, signal);
      await this.#requireStatus(answer, 200, request);
      const { 'content-type': type = '(no content type)' } = answer.headers;
      const body = await this.#body(answer, signal);
      if (!/^application\/json(?:;|$)/i.test(type)) throw odd(request, `200 with ${type} instead of JSON`);
      return parse(body, schema, request);
    });
  }

  /** A request whose answer is its status: 204. */
  async post(request: GitlabRequest, signal: AbortSignal): Promise<void> {
    await this.#observed(async () => {
      const answer = await this.#send(request, {}, signal);
      await this.#requireStatus(answer, 204, request);
      await this.#body(answer, signal);
    });
  }

  /** Hands a request through; whatever GitLab answers is the answer. UnavailableError when it does not. */
  async proxy({ method, path, query, headers, body, agentToken }: ProxiedRequest, signal: AbortSignal): Promise<ProxiedAnswer> {
    const url = this.#url(path, query);
    await this.#proxiedLimit.take(signal);
    const all = { ...headers, ...(await this.#headers(agentToken)) };
    const answer = await this.#proxied.send({ method, url, headers: all, body }, signal);
    const { statusCode: status = 0, statusMessage: statusText = '' } = answer;
    return { status, statusText, headers: answer.headers, body: answer };
  }

  close(): void {
    this.#closing.abort(new DOMException('The client was closed', 'AbortError'));
    this.#exchange.close();
    this.#proxied.close();
  }

  async #send(request: GitlabRequest, headers: OutgoingHttpHeaders, signal: AbortSignal): Promise<IncomingMessage> {
    const { method, path, query = {}, agentToken, jobToken, body } = request;
    await this.#limit.take(signal);
    // Signed at the last moment: it is good for seconds.
    const own = await this.#headers(agentToken);
    const text = body === undefined ? undefined : JSON.stringify(body);
    const content = text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const url = this.#url(path, new URLSearchParams(query), jobToken === undefined ? API_PREFIX : JOB_PREFIX);
    const job = jobToken === undefined ? {} : { 'job-token': jobToken };
    return await this.#exchange.send({ method, url, headers: { ...headers, ...content, ...own, ...job }, body: text }, signal);
  }

  #url(path: string, query: URLSearchParams, prefix = API_PREFIX): URL {
    const url = new URL(this.#options.address);
    url.pathname = `${url.pathname.replace(/\/+$/, '')}${prefix}${path}`;
    url.search = query.toString();
    return url;
  }

  async #headers(agentToken: string | undefined): Promise<OutgoingHttpHeaders> {
    const jwt = await signJwt(this.#options.secret, { issuer: ISSUER, audience: AUDIENCE, lifetimeSeconds: TOKEN_LIFETIME_S });
    return {
      'gitlab-kas-api-request': jwt,
      'user-agent': `gitlab-kas/${VERSION}`,
      'x-gitlab-client-name': 'gitlab-kas',
      'x-request-id': randomUUID(),
      ...(agentToken === undefined ? {} : { authorization: `Bearer ${agentToken}` }),
    };
  }

  async #body(answer: IncomingMessage, signal: AbortSignal): Promise<Buffer> {
    const timer = setTimeout(() => answer.destroy(new Error('too slow')), BODY_TIMEOUT_MS);
    try {
      return await readBody(answer, MAX_ANSWER_BYTES, signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async #requireStatus(answer: IncomingMessage, expected: number, request: GitlabRequest): Promise<void> {
    const { statusCode: status = 0 } = answer;
    if (status === expected) return;
    answer.destroy();
    if (status === 401 && !(await this.#accepts(request)))
      throw new UnavailableError(
        'GitLab refuses kas itself: gitlab.authentication_secret_file must hold the secret that GitLab has, and both clocks must agree',
      );
    const refusal = asksForSomebody(request) ? REFUSALS[status] : undefined;
    if (refusal === undefined) throw odd(request, `${status}${hint(status)}`);
    throw new UserError(`${refusal.message} (${status})`, { kind: refusal.kind, reason: refusal.reason });
  }

  /** Whether a 401 is about whom kas asks for: GitLab also says it when it does not accept the signature of kas. */
  async #accepts(request: GitlabRequest): Promise<boolean> {
    if (!asksForSomebody(request)) return false;
    const now = performance.now();
    if (this.#credentialCheck === undefined || now - this.#credentialCheck.at > CREDENTIAL_CHECK_MS)
      this.#credentialCheck = { at: now, holds: this.#checkCredential() };
    try {
      return await this.#credentialCheck.holds;
    } catch (error) {
      this.#credentialCheck = undefined;
      throw error;
    }
  }

  /** Whether GitLab accepts a request that needs nothing but kas' signature, and does nothing. */
  async #checkCredential(): Promise<boolean> {
    const request = { method: 'POST', path: '/usage_metrics', body: { gitops_sync_count: 0 } } as const;
    const answer = await this.#send(request, {}, this.#closing.signal);
    answer.destroy();
    return answer.statusCode !== 401;
  }

  /** Says once that GitLab does not answer, and once that it does again. */
  async #observed<T>(ask: () => Promise<T>): Promise<T> {
    try {
      const answer = await ask();
      this.#note(undefined);
      return answer;
    } catch (error) {
      if (error instanceof UnavailableError) this.#note(error.message);
      else if (error instanceof UserError) this.#note(undefined);
      throw error;
    }
  }

  #note(failure: string | undefined): void {
    const { log, address } = this.#options;
    const failing = failure !== undefined;
    if (failing === this.#failing) return;
    this.#failing = failing;
    if (failing) log.warn('GitLab does not answer', { url: address.origin, detail: failure });
    else log.info('GitLab answers again', { url: address.origin });
  }
}

function odd({ method, path }: GitlabRequest, what: string): UnavailableError {
  return new UnavailableError(`GitLab answered ${method} ${path} with ${what}`);
}

function asksForSomebody({ agentToken, jobToken, forUser }: GitlabRequest): boolean {
  return agentToken !== undefined || jobToken !== undefined || forUser === true;
}

function hint(status: number): string {
  return status >= 300 && status < 400 ? ', a redirect: set gitlab.address to where GitLab is' : '';
}

function parse<T>(body: Buffer, schema: z.ZodType<T>, request: GitlabRequest): T {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw new UnavailableError(`GitLab answered ${request.path} with broken JSON`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw odd(request, `JSON that lacks something: ${issue?.path.join('.')}: ${issue?.message}`);
}

/** What the `gitlab` section of the configuration names, read. UserError when a file cannot be used. */
export async function readGitlabFiles(files: {
  readonly authenticationSecretFile: string;
  readonly caCertificateFile: string | undefined;
}): Promise<{ readonly secret: Uint8Array; readonly ca: Buffer | undefined }> {
  const secret = decodeJwtSecret(String(await read(files.authenticationSecretFile)), files.authenticationSecretFile);
  return { secret, ca: files.caCertificateFile === undefined ? undefined : await read(files.caCertificateFile) };
}

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new UserError(`Cannot read ${file}: ${(error as Error).message}`, { reason: 'FileUnreadable', cause: error });
  }
}
