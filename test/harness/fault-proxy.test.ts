import { readFile } from 'node:fs/promises';
import http2, { type ClientHttp2Session, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from 'node:http2';
import { request } from 'node:https';
import { ApiReader } from './api-reader.ts';
import { useCluster } from './cluster.ts';
import { FaultProxy, refusal, textAnswer, tooManyRequests } from './fault-proxy.ts';
import { kubeHttps } from './kube-https.ts';
import { waitUntil } from './wait-until.ts';

interface Answered {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A client of its own, plain node:http2. */
class Client implements Disposable {
  readonly session: ClientHttp2Session;
  readonly #headers: Readonly<Record<string, string>>;

  private constructor(session: ClientHttp2Session, headers: Readonly<Record<string, string>>) {
    this.session = session;
    this.#headers = headers;
    session.on('error', () => undefined);
  }

  static async connect(proxy: FaultProxy): Promise<Client> {
    const { headers } = kubeHttps(proxy.kubeconfigPath);
    const ca = await readFile(proxy.caFile);
    return new Client(http2.connect(`https://127.0.0.1:${proxy.port}`, { ca }), headers);
  }

  open(method: string, path: string, body?: string) {
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    const stream = this.session.request({ ':method': method, ':path': path, ...this.#headers, ...type });
    stream.on('error', () => undefined);
    stream.end(body);
    return stream;
  }

  /** Status undefined when there was no answer. */
  async ask(method: string, path: string, body?: string): Promise<Answered> {
    const stream = this.open(method, path, body);
    let headers: IncomingHttpHeaders & IncomingHttpStatusHeader = {};
    let text = '';
    stream.on('response', (received) => {
      headers = received;
    });
    stream.on('data', (chunk) => {
      text += String(chunk);
    });
    const { promise, resolve } = Promise.withResolvers<Answered>();
    stream.on('close', () => resolve({ status: headers[':status'], headers, text }));
    return await promise;
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}

describe('FaultProxy', () => {
  const shared = useCluster();
  let namespace: string;
  let maps: string;

  beforeAll(async () => {
    namespace = await shared.namespace();
    maps = `/api/v1/namespaces/${namespace}/configmaps`;
  });

  const configMap = (name: string, data = 'x'): string => JSON.stringify({ metadata: { name }, data: { data } });

  it('passes what no rule matches, as the server takes and answers it', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    using direct = new ApiReader(shared.kubeconfigPath);
    using client = await Client.connect(proxy);
    const long = 'y'.repeat(400_000);
    expect((await client.ask('POST', maps, configMap('passed', long))).status).toBe(201);
    const live = await direct.get(`${maps}/passed`);
    expect(live).toMatchObject({ data: { data: long } });
    const { status, headers, text } = await client.ask('GET', `${maps}?fieldSelector=metadata.name%3Dpassed`);
    expect([status, headers['content-type'], JSON.parse(text).items[0].metadata.uid]).toEqual([
      200,
      'application/json',
      live?.metadata.uid,
    ]);
    expect(proxy.requests.map(({ method, path, passed }) => [method, path, passed])).toEqual([
      ['POST', maps, true],
      ['GET', maps, true],
    ]);
    expect(proxy.count({ query: { fieldSelector: /passed$/ } })).toBe(1);
  });

  it('lets kubectl and plain HTTP/1.1 through', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    const arguments_ = ['--kubeconfig', proxy.kubeconfigPath, 'get', 'namespace', namespace, '-o', 'name'];
    expect((await shared.kubectl(arguments_)).trim()).toBe(`namespace/${namespace}`);
    const { promise, resolve, reject } = Promise.withResolvers<[string, number | undefined]>();
    const options = { ca: await readFile(proxy.caFile), headers: { connection: 'close' } };
    request(`https://127.0.0.1:${proxy.port}/readyz`, options, (response) => {
      response.resume();
      resolve([response.httpVersion, response.statusCode]);
    })
      .on('error', reject)
      .end();
    expect(await promise).toEqual(['1.1', 200]);
  });

  it('passes the head of a watch and its events as they come', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    using client = await Client.connect(proxy);
    const stream = client.open('GET', `${maps}?watch=true&labelSelector=seen%3Dyes`);
    let text = '';
    stream.on('data', (chunk) => {
      text += String(chunk);
    });
    let opened = false;
    stream.on('response', () => {
      opened = true;
    });
    await waitUntil(() => opened, { what: 'the head of a watch without events' });
    await client.ask('POST', maps, JSON.stringify({ metadata: { name: 'watched', labels: { seen: 'yes' } } }));
    await waitUntil(() => text.includes('"name":"watched"'), { what: 'the event' });
    expect(text).toContain('"type":"ADDED"');
  });

  it('answers in place of the server as often as it was told, by the first rule that matches', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    using client = await Client.connect(proxy);
    using busy = proxy.on({ method: 'POST', path: maps, body: '"busy"' }, tooManyRequests(3), 2);
    using broken = proxy.on({ method: 'POST', path: /configmaps$/ }, textAnswer(503, 'no backend'));
    const refused = await client.ask('POST', maps, configMap('busy'));
    expect([refused.status, refused.headers['retry-after']]).toEqual([429, '3']);
    expect((await client.ask('POST', maps, configMap('busy'))).status).toBe(429);
    const other = await client.ask('POST', maps, configMap('busy'));
    expect([other.status, other.text]).toEqual([503, 'no backend']);
    expect([busy.hits, broken.hits, proxy.count({ passed: true })]).toEqual([2, 1, 0]);
    broken.remove();
    expect((await client.ask('POST', maps, configMap('busy'))).status).toBe(201);
    proxy.on({ path: `${maps}/busy` }, refusal(422, 'Invalid', 'field is immutable', { details: { causes: [] } }));
    expect(JSON.parse((await client.ask('GET', `${maps}/busy`)).text)).toMatchObject({
      code: 422,
      message: 'field is immutable',
    });
  });

  it('breaks the connection before the server has the request, or after it has acted', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    using direct = new ApiReader(shared.kubeconfigPath);
    proxy.on({ body: '"before"' }, { cut: 'before' });
    proxy.on({ body: '"after"' }, { cut: 'after' });
    using first = await Client.connect(proxy);
    expect((await first.ask('POST', maps, configMap('before'))).status).toBeUndefined();
    await waitUntil(() => first.session.destroyed, { what: 'the first connection to break' });
    using second = await Client.connect(proxy);
    expect((await second.ask('POST', maps, configMap('after'))).status).toBeUndefined();
    expect(await direct.get(`${maps}/before`)).toBeUndefined();
    expect(await direct.get(`${maps}/after`)).toBeDefined();
    await waitUntil(() => proxy.connections === 0, { what: 'both connections to be gone' });
  });

  it('refuses a stream alone', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    using client = await Client.connect(proxy);
    proxy.on({ path: '/livez' }, { refuse: true }, 1);
    const stream = client.open('GET', '/livez');
    await waitUntil(() => stream.destroyed, { what: 'the refusal' });
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_REFUSED_STREAM);
    expect((await client.ask('GET', '/livez')).status).toBe(200);
  });

  it('says GOAWAY with the answer to a request', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    using client = await Client.connect(proxy);
    let said = false;
    client.session.on('goaway', () => {
      said = true;
    });
    proxy.on({ path: '/readyz' }, { goaway: true });
    expect((await client.ask('GET', '/readyz')).status).toBe(200);
    await waitUntil(() => said && client.session.destroyed, { what: 'GOAWAY' });
  });

  it('passes a request later, or when it is let go', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    using client = await Client.connect(proxy);
    const held = proxy.on({ path: '/livez' }, { hold: true });
    const answer = client.ask('GET', '/livez');
    await waitUntil(() => held.hits === 1, { what: 'the request' });
    proxy.on({ path: '/readyz' }, { delayMs: 20 });
    expect((await client.ask('GET', '/readyz')).status).toBe(200);
    expect(await Promise.race([answer, Promise.resolve('held')])).toBe('held');
    held.remove();
    expect((await answer).status).toBe(200);
  });

  it('shows a new certificate to new connections', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    const before = await readFile(proxy.caFile, 'utf8');
    await proxy.rotateCertificate();
    expect(await readFile(proxy.caFile, 'utf8')).not.toBe(before);
    using client = await Client.connect(proxy);
    expect((await client.ask('GET', '/readyz')).status).toBe(200);
    const old = http2.connect(`https://127.0.0.1:${proxy.port}`, { ca: before });
    const { promise, resolve } = Promise.withResolvers<Error>();
    old.on('error', resolve);
    expect((await promise).message).toMatch(/certificate/);
  });
});
