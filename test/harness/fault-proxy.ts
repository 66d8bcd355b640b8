import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import {
  constants,
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { sleep } from '../../lib/abort.ts';
import { createServingCertificate } from './certificate.ts';
import { Downstream, type Exchange } from './fault-relay.ts';
import { type Fault, FaultRule, matches, type RequestMatch, type SeenRequest } from './fault-rules.ts';
import { type KubeHttps, kubeHttps } from './kube-https.ts';
import { createTempDir, type TempDir } from './temp-dir.ts';

export { type Fault, type FaultRule, type RequestMatch, refusal, textAnswer, tooManyRequests } from './fault-rules.ts';

export interface RecordedRequest extends SeenRequest {
  /** Whether it went on to the API server. */
  readonly passed: boolean;
}

/**
 * Stands between a client and the real API server and makes faults: what no rule matches passes unaltered in both
 * directions, watches as they come. Speaks TLS with a certificate of its own, HTTP/2 and HTTP/1.1 without upgrades, so
 * there is no exec or port-forward through it. Credentials in headers are the client's own; a client certificate that
 * the kubeconfig has is presented by the proxy for everybody.
 */
export class FaultProxy implements AsyncDisposable {
  /** Same user and context as the one given; points to this proxy and names its authority by file. */
  readonly kubeconfigPath: string;
  readonly #directory: TempDir;
  readonly #upstream: KubeHttps;
  readonly #server: Http2SecureServer;
  readonly #downstreams = new Map<number, Downstream>();
  readonly #requests: { -readonly [K in keyof RecordedRequest]: RecordedRequest[K] }[] = [];
  readonly #closing = new AbortController();
  #rules: FaultRule[] = [];

  private constructor(upstream: KubeHttps, directory: TempDir) {
    this.#upstream = upstream;
    this.#directory = directory;
    this.kubeconfigPath = join(directory.path, 'kubeconfig');
    this.#server = createSecureServer({ allowHTTP1: true, settings: { maxConcurrentStreams: 100 } });
    this.#server.on('secureConnection', (socket: Socket) => this.#accept(socket));
    this.#server.on('session', (session) => session.on('error', () => undefined));
    this.#server.on('request', (request, response) => void this.#serve(request, response));
    this.#server.on('tlsClientError', () => undefined);
  }

  static async listen(kubeconfigPath: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(kubeHttps(kubeconfigPath), await createTempDir());
    await proxy.rotateCertificate();
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    await proxy.#writeKubeconfig(kubeconfigPath);
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** PEM file of the authority that the kubeconfig trusts. */
  get caFile(): string {
    return join(this.#directory.path, 'ca.crt');
  }

  /** Connections of clients now. */
  get connections(): number {
    return this.#downstreams.size;
  }

  /** Everything that came, in order. */
  get requests(): readonly RecordedRequest[] {
    return this.#requests;
  }

  /** How many of them match. */
  count(match: RequestMatch & { readonly passed?: boolean } = {}): number {
    return this.#requests.filter(
      (request) => matches(match, request) && (match.passed === undefined || request.passed === match.passed),
    ).length;
  }

  /** Puts a fault in place: for the first `times` requests that match, or until it is removed. */
  on(match: RequestMatch, fault: Fault, times = Number.POSITIVE_INFINITY): FaultRule {
    const rule = new FaultRule(match, fault, times, () => {
      this.#rules = this.#rules.filter((other) => other !== rule);
    });
    this.#rules.push(rule);
    return rule;
  }

  /** Breaks every connection, whatever runs on it. New ones are taken at once. */
  cut(): void {
    for (const downstream of this.#downstreams.values()) downstream.destroy();
  }

  /** Says GOAWAY on every connection. */
  goaway(): void {
    for (const downstream of this.#downstreams.values()) downstream.goaway();
  }

  /** New connections get a new certificate, of which the CA file tells. Those that stand stay. */
  async rotateCertificate(): Promise<void> {
    const certificate = await createServingCertificate();
    this.#server.setSecureContext(certificate);
    await writeFile(this.caFile, certificate.cert);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new DOMException('The proxy is closed', 'AbortError'));
    for (const rule of this.#rules) rule.remove();
    this.cut();
    this.#upstream.agent.destroy();
    if (this.#server.listening) {
      this.#server.close();
      await once(this.#server, 'close');
    }
    await this.#directory.remove();
  }

  #accept(socket: Socket): void {
    const port = socket.remotePort ?? 0;
    const downstream = new Downstream(socket, this.#upstream);
    this.#downstreams.set(port, downstream);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.#downstreams.delete(port);
      downstream.destroy();
    });
  }

  async #serve(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    try {
      const downstream = this.#downstreamOf(request);
      const exchange = await downstream.receive(request, response);
      const record = { ...exchange.request, passed: false };
      this.#requests.push(record);
      const rule = this.#rules.find((candidate) => candidate.takes(exchange.request));
      record.passed = rule === undefined || passes(rule.fault);
      await this.#treat(exchange, rule);
    } catch {
      // Either side is gone, or a wait was cut short by the end of this proxy: the client gets no answer either.
      if (request.httpVersionMajor === 2) response.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      else response.destroy();
    }
  }

  /** What Node calls the socket of an HTTP/2 session is a wrapper; ports tell connections apart. */
  #downstreamOf(request: Http2ServerRequest): Downstream {
    const downstream = this.#downstreams.get(request.socket.remotePort ?? 0);
    if (downstream === undefined) throw new Error('The connection of the request is gone');
    return downstream;
  }

  async #treat(exchange: Exchange, rule: FaultRule | undefined): Promise<void> {
    if (rule === undefined) return await exchange.pass();
    const { fault } = rule;
    if ('answer' in fault) return exchange.answer(fault.answer);
    if ('refuse' in fault) return exchange.refuse();
    if ('cut' in fault && fault.cut === 'before') return exchange.cut();
    if ('goaway' in fault) exchange.goaway();
    if ('delayMs' in fault) await sleep(fault.delayMs, this.#closing.signal);
    if ('hold' in fault) await rule.removed;
    this.#closing.signal.throwIfAborted();
    if ('cut' in fault) await exchange.passAndCut();
    else await exchange.pass();
  }

  async #writeKubeconfig(original: string): Promise<void> {
    const config = new KubeConfig();
    config.loadFromFile(original);
    const name = config.getCurrentCluster()?.name;
    const cluster = { server: `https://127.0.0.1:${this.port}`, 'certificate-authority': this.caFile };
    const changed = { ...JSON.parse(config.exportConfig()), clusters: [{ name, cluster }] };
    await writeFile(this.kubeconfigPath, JSON.stringify(changed), { mode: 0o600 });
  }
}

function passes(fault: Fault): boolean {
  return !('answer' in fault || 'refuse' in fault || ('cut' in fault && fault.cut === 'before'));
}
