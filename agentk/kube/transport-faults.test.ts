import { useCluster } from '../../test/harness/cluster.ts';
import { FaultProxy, refusal, textAnswer, tooManyRequests } from '../../test/harness/fault-proxy.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import type { KubeCluster } from './kube-cluster.ts';
import { applyMany, expectAllThere, MANY, reached } from './testing/many-applies.ts';
import { configMapBody, OPTIONS, openCluster, typeOf } from './testing/open-cluster.ts';

/** Thousands of requests on a machine that has other things to do. */
const MANY_TIMEOUT_MS = 300_000;

describe('KubeCluster and an API server that refuses', () => {
  const shared = useCluster();
  const signal = new AbortController().signal;
  let proxy: FaultProxy;
  let cluster: KubeCluster;
  let namespace: string;

  beforeEach(async () => {
    namespace = await shared.namespace();
    proxy = await FaultProxy.listen(shared.kubeconfigPath);
    // A busy machine takes its time for a new connection.
    ({ cluster } = await openCluster(proxy.kubeconfigPath, { retryForMs: 60_000 }));
  });

  afterEach(async () => {
    await cluster[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });

  async function applyOne(name: string): Promise<{ readonly created: boolean }> {
    const ref = { type: typeOf(cluster, 'ConfigMap'), namespace, name };
    return await cluster.apply(ref, configMapBody(ref, { a: '1' }), OPTIONS, signal);
  }

  it(
    'applies each of 2,000 once through storms of 429, and comes back when it is told to',
    async () => {
      const storm = (requests: number): void => void proxy.on({ method: 'PATCH' }, tooManyRequests(1), requests);
      storm(48);
      const applied = await applyMany(cluster, namespace, { 1_000: () => storm(12) });
      await expectAllThere(cluster, namespace, applied);
      expect(reached(proxy, namespace)).toBe(MANY);
      expect(proxy.count({ method: 'PATCH', passed: false })).toBe(60);
    },
    MANY_TIMEOUT_MS,
  );

  it.each([
    ['32 after a 429 that says when to come back', tooManyRequests(1), 32],
    ['32 after a 503 of the API server itself', refusal(503, 'ServiceUnavailable', 'etcd is away'), 32],
    ['64 after a 503 of a server behind it', textAnswer(503, 'service unavailable'), 64],
    ['64 after a 429 about one object', refusal(429, 'TooManyRequests', 'denied by an admission webhook'), 64],
  ])('sends %s', async (_, fault, expected) => {
    const held = proxy.on({ method: 'PATCH', body: '"held-' }, { hold: true });
    proxy.on({ method: 'PATCH' }, fault, 1);
    await applyOne('refused-once').catch(() => undefined);
    const all = Array.from({ length: 80 }, async (_each, index) => await applyOne(`held-${index}`));
    await waitUntil(() => held.hits === expected, { what: `${expected} applies at a time` });
    await proxyHasNoMore();
    expect(held.hits).toBe(expected);
    held.remove();
    expect((await Promise.all(all)).every(({ created }) => created)).toBe(true);
  });

  /** What was sent before is there by now: a request of its own on the same connection was answered. */
  async function proxyHasNoMore(): Promise<void> {
    await cluster.version(signal);
  }

  it('hands a 429 on when it lasts', async () => {
    await using other = (await openCluster(proxy.kubeconfigPath, { retryRefusedForMs: 1_500 })).cluster;
    using storm = proxy.on({ method: 'PATCH' }, tooManyRequests(1));
    const ref = { type: typeOf(other, 'ConfigMap'), namespace, name: 'refused' };
    await expect(other.apply(ref, configMapBody(ref, {}), OPTIONS, signal)).rejects.toMatchObject({
      code: 429,
      retryAfterMs: 1_000,
    });
    expect(storm.hits).toBe(2);
  });

  it('asks again when a server with an error says when, and does not otherwise', async () => {
    proxy.on({ body: '"later"' }, refusal(500, 'ServerTimeout', 'no port free yet', { details: { retryAfterSeconds: 1 } }), 1);
    expect((await applyOne('later')).created).toBe(true);
    using dead = proxy.on({ body: '"dead"' }, textAnswer(503, 'service unavailable'));
    await expect(applyOne('dead')).rejects.toMatchObject({ code: 503, message: 'service unavailable' });
    expect(dead.hits).toBe(1);
  });

  it('asks again when a server says for one object that there are too many requests', async () => {
    proxy.on({ body: '"denied"' }, refusal(429, 'TooManyRequests', 'admission webhook "quota" denied the request'), 2);
    expect((await applyOne('denied')).created).toBe(true);
  });

  it(
    'applies each of 2,000 once though answers are lost, streams refused and connections sent away',
    async () => {
      const lost = (): void => void proxy.on({ method: 'PATCH' }, { cut: 'after' }, 1);
      const applied = await applyMany(cluster, namespace, {
        300: lost,
        600: () => void proxy.on({ method: 'PATCH' }, { refuse: true }, 40),
        900: () => proxy.goaway(),
        1_200: () => void proxy.on({ method: 'PATCH' }, { goaway: true }, 3),
        1_500: lost,
        1_700: () => void proxy.on({ method: 'PATCH' }, { cut: 'before' }, 1),
      });
      await expectAllThere(cluster, namespace, applied);
      // Only what was on its way when a connection broke is sent again, 64 at a time.
      expect(reached(proxy, namespace)).toBeLessThan(MANY + 400);
    },
    MANY_TIMEOUT_MS,
  );
});
