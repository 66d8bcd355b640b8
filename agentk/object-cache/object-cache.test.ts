import { useCluster } from '../../test/harness/cluster.ts';
import { FaultProxy } from '../../test/harness/fault-proxy.ts';
import { ask, kubeHttps } from '../../test/harness/kube-https.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import type { KubeCluster } from '../kube/kube-cluster.ts';
import { apply, configMapBody, OPTIONS, openCluster, remove, typeOf } from '../kube/testing/open-cluster.ts';
import { CacheFixture, select } from './testing/cache-fixture.ts';

const signal = new AbortController().signal;

describe('the object cache', () => {
  const shared = useCluster();
  let cluster: KubeCluster;
  let namespace: string;

  beforeAll(async () => {
    ({ cluster } = await openCluster(shared.kubeconfigPath, { watchTimings: { goneAfterMs: 500 } }));
  });

  beforeEach(async () => {
    namespace = await shared.namespace();
  });

  afterAll(async () => await cluster[Symbol.asyncDispose]());

  it('answers lists, gets and watches without a request to the API server', async () => {
    for (const name of ['a', 'b']) await apply(cluster, namespace, name, { own: namespace, name });
    await using fixture = new CacheFixture(cluster);
    await fixture.keep([select('ConfigMap', { labelSelector: `own=${namespace}` })]);
    const https = kubeHttps(shared.kubeconfigPath);
    const requests = async (): Promise<string[]> => {
      const { text } = await ask(https, { path: '/metrics', timeoutMs: 30_000 });
      // Counted when they end, so a watch that goes on is not among them.
      return text
        .split('\n')
        .filter((line) => line.startsWith('apiserver_request_total') && line.includes('resource="configmaps"'));
    };
    const ours = (lines: string[]): string[] =>
      lines.filter((line) => /verb="(LIST|GET)"/.test(line) && line.includes('scope="cluster"'));

    const before = ours(await requests());
    for (let time = 0; time < 500; time++) {
      expect(fixture.list({ namespace }).names).toEqual(['a', 'b']);
      expect(fixture.list({ labelSelector: 'name in (b)' }).names).toEqual(['b']);
      const { object } = fixture.service.getObject({ group: '', kind: 'ConfigMap', namespace, name: 'a', fields: [] });
      expect(JSON.parse(object?.json.toString() ?? '')).toMatchObject({ kind: 'ConfigMap', metadata: { name: 'a', namespace } });
    }
    await using watch = fixture.watch({ namespace }, '');
    await waitUntil(() => watch.synced, { what: 'the watch to have it all' });
    expect(watch.lines.toSorted()).toEqual(['added a', 'added b']);
    expect(ours(await requests())).toEqual(before);
    https.agent.destroy();
  });

  it('stores what its mask lets through, and no data of Secrets unless it is named', async () => {
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace }, stringData: { password: 'hunter2' } };
    await cluster.apply({ type: typeOf(cluster, 'Secret'), namespace, name: 's' }, JSON.stringify(secret), OPTIONS, signal);
    await apply(cluster, namespace, 'a', { own: namespace });
    await using fixture = new CacheFixture(cluster);
    const json = (kind: string, name: string): unknown =>
      JSON.parse(fixture.service.getObject({ group: '', kind, namespace, name, fields: [] }).object?.json.toString() ?? '');

    await fixture.keep([
      select('ConfigMap', { fields: ['metadata.labels'], namespaces: [namespace] }),
      select('Secret', { namespaces: [namespace] }),
    ]);
    const identity = { name: 'a', namespace, uid: expect.any(String), resourceVersion: expect.any(String) };
    expect(json('ConfigMap', 'a')).toEqual({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { ...identity, labels: { own: namespace } },
    });
    expect(JSON.stringify(json('Secret', 's'))).not.toMatch(/"data"|password/);

    await fixture.keep([select('Secret', { namespaces: [namespace], fields: ['data.password'] })]);
    expect(json('Secret', 's')).toMatchObject({ data: { password: Buffer.from('hunter2').toString('base64') } });
    expect(() => fixture.list({ kind: 'ConfigMap', namespace })).toThrow('objects of kind ConfigMap are not kept');
    expect(() => fixture.list({ kind: 'Secret', namespace: 'default' })).toThrow(
      `are kept of ${namespace}, not of namespace default`,
    );
  });

  it('keeps all kinds of a group but Secrets', async () => {
    await using fixture = new CacheFixture(cluster);
    await fixture.keep([select('*', { namespaces: [namespace] })]);
    await fixture.settled(5);
    const kinds = fixture.service.listSelections().selections.map(({ kind }) => kind);
    expect(kinds).toEqual(expect.arrayContaining(['ConfigMap', 'Pod', 'Service', 'Event']));
    expect(kinds).not.toContain('Secret');
    expect(() => fixture.list({ kind: 'Secret', namespace })).toThrow('objects of kind Secret are not kept');
  });

  it('tells a watcher of what comes to match its selector and of what matches no more', async () => {
    await apply(cluster, namespace, 'a', { tier: 'front' });
    await using fixture = new CacheFixture(cluster);
    await fixture.keep([select('ConfigMap', { namespaces: [namespace] })]);
    const { version } = fixture.list({ namespace });
    await using watch = fixture.watch({ namespace, labelSelector: 'tier=front' }, version);
    await apply(cluster, namespace, 'b', { tier: 'back' });
    await apply(cluster, namespace, 'b', { tier: 'front' });
    await watch.waitFor('added b');
    await apply(cluster, namespace, 'a', { tier: 'back' });
    await watch.waitFor('deleted a');
    await remove(cluster, namespace, 'a');
    await remove(cluster, namespace, 'b');
    await watch.waitFor('deleted b');
    expect(watch.lines).toEqual(['added b', 'deleted a', 'deleted b']);
  });

  it('tells so too where labels are not among the fields that are kept', async () => {
    await apply(cluster, namespace, 'a', { tier: 'front' });
    await using fixture = new CacheFixture(cluster);
    await fixture.keep([select('ConfigMap', { namespaces: [namespace], fields: ['data'] })]);
    await using watch = fixture.watch({ namespace, labelSelector: 'tier=front' }, fixture.list({ namespace }).version);
    await apply(cluster, namespace, 'a', { tier: 'other' });
    await watch.waitFor('deleted a');
    await apply(cluster, namespace, 'a', { tier: 'front' });
    await watch.waitFor('added a');
    expect(watch.lines).toEqual(['deleted a', 'added a']);
  });

  it('cuts what a reader missed, and a list, into messages that the protocol takes', async () => {
    await using fixture = new CacheFixture(cluster);
    await fixture.keep([select('ConfigMap', { namespaces: [namespace] })]);
    const filter = { group: '', kind: 'ConfigMap', namespace, labelSelector: '', fields: [] };
    const { version } = fixture.list({ namespace });
    const names = Array.from({ length: 30 }, (_, index) => `large-${index}`);
    const type = typeOf(cluster, 'ConfigMap');
    for (const name of names) {
      const ref = { type, namespace, name };
      await cluster.apply(ref, configMapBody(ref, { text: 'x'.repeat(name === 'large-7' ? 500_000 : 50_000) }), OPTIONS, signal);
    }
    await waitUntil(() => names.every((name) => fixture.list({ namespace }).names.includes(name)), { what: 'all objects' });

    const sizeOf = (objects: readonly ({ json: Buffer } | undefined)[]): number =>
      objects.reduce((sum, object) => sum + (object?.json.length ?? 0), 0);
    const told: string[] = [];
    for await (const { changes } of fixture.service.watchObjects({ filter, version }, signal)) {
      expect(changes.length <= 1 || sizeOf(changes.map(({ object }) => object)) <= 128 << 10).toBe(true);
      told.push(...changes.map(({ object }) => object?.name ?? ''));
      if (told.length >= names.length) break;
    }
    expect(told).toEqual(names);
    for (const { objects } of fixture.service.listObjects({ filter }))
      expect(objects.length <= 1 || sizeOf(objects) <= 128 << 10).toBe(true);
  });

  it('keeps no kind of which an object is too large for a message, and says which', async () => {
    const ref = { type: typeOf(cluster, 'ConfigMap'), namespace, name: 'huge' };
    // Twice as long in JSON as in the cluster.
    await cluster.apply(ref, configMapBody(ref, { text: '"'.repeat(600_000) }), OPTIONS, signal);
    await using fixture = new CacheFixture(cluster);
    await fixture.keep([select('ConfigMap', { namespaces: [namespace] })]);
    expect(() => fixture.list({ namespace })).toThrow(`ConfigMap ${namespace}/huge is too large to be sent in one message`);
    await using masked = new CacheFixture(cluster);
    await masked.keep([select('ConfigMap', { namespaces: [namespace], fields: ['metadata.labels'] })]);
    expect(masked.list({ namespace }).names).toContain('huge');
  });

  it('misses none of 10,000 changes between a list and a watch from it, nor tells one twice', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `item-${index}`);
    await Promise.all(names.map(async (name) => await apply(cluster, namespace, name, {})));
    await using fixture = new CacheFixture(cluster);
    await fixture.keep([select('ConfigMap', { namespaces: [namespace] })]);
    const { version } = fixture.list({ namespace });

    // Half of them before anybody watches.
    const change = async (name: string, from: number): Promise<void> => {
      for (let turn = from; turn < from + 50; turn++) await apply(cluster, namespace, name, { turn: `${turn}` });
    };
    await Promise.all(names.map(async (name) => await change(name, 0)));
    await using watch = fixture.watch({ namespace }, version);
    await Promise.all(names.map(async (name) => await change(name, 50)));
    await waitUntil(() => watch.changes.length >= 10_000, { what: '10,000 changes' });

    const seen = new Map<string, number[]>();
    for (const { object } of watch.changes) {
      const { metadata } = JSON.parse(object?.json.toString() ?? '') as { metadata: { labels: { turn: string } } };
      seen.set(object?.name ?? '', [...(seen.get(object?.name ?? '') ?? []), Number(metadata.labels.turn)]);
    }
    const turns = Array.from({ length: 100 }, (_, turn) => turn);
    for (const name of names) expect([name, seen.get(name)]).toEqual([name, turns]);
  }, 300_000);

  it('goes on after lost connections and a version that has expired, without a gap or a double event', async () => {
    await using proxy = await FaultProxy.listen(shared.kubeconfigPath);
    const { cluster: behind } = await openCluster(proxy.kubeconfigPath, {
      watchTimings: { goneAfterMs: 500 },
      retryForMs: 60_000,
    });
    await using _behind = behind;
    for (const name of ['a', 'b', 'c']) await apply(cluster, namespace, name, {});
    await using fixture = new CacheFixture(behind);
    await fixture.keep([select('ConfigMap', { namespaces: [namespace] })]);
    await using watch = fixture.watch({ namespace }, fixture.list({ namespace }).version);

    // What happens while no watch comes through is found by the list that follows.
    const expired = {
      kind: 'Status',
      apiVersion: 'v1',
      status: 'Failure',
      reason: 'Expired',
      code: 410,
      message: 'too old resource version',
    };
    const answer = {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: `${JSON.stringify({ type: 'ERROR', object: expired })}\n`,
    };
    using hold = proxy.on({ path: /configmaps$/ }, { hold: true });
    proxy.cut();
    await apply(cluster, namespace, 'a', { changed: 'yes' });
    await remove(cluster, namespace, 'b');
    await apply(cluster, namespace, 'd', {});
    using rule = proxy.on({ path: /configmaps$/, query: { resourceVersion: /./ } }, { answer }, 2);
    hold[Symbol.dispose]();
    await waitUntil(() => rule.hits > 0, { what: 'a watch that has expired' });
    await watch.waitFor('added d');
    await apply(cluster, namespace, 'e', {});
    await watch.waitFor('added e');
    expect(watch.lines.filter((line) => !line.includes('kube-root-ca')).toSorted()).toEqual([
      'added d',
      'added e',
      'deleted b',
      'modified a',
    ]);
  });

  it('says that a version is too old, or of another life, instead of leaving something out', async () => {
    await apply(cluster, namespace, 'a', {});
    await using fixture = new CacheFixture(cluster);
    // So little that a handful of changes fills what is remembered.
    await fixture.keep([select('ConfigMap', { namespaces: [namespace] })], 16 << 10);
    const { version } = fixture.list({ namespace });
    for (let turn = 0; turn < 30; turn++) await apply(cluster, namespace, 'a', { turn: `${turn}` });
    await waitUntil(() => JSON.stringify(fixture.list({ namespace, labelSelector: 'turn=29' }).names) === '["a"]', {
      what: 'the last change',
    });
    await using late = fixture.watch({ namespace }, version);
    await waitUntil(() => late.ended, { what: 'the watch to end' });
    expect(late.ended).toMatchObject({ kind: 'precondition', reason: 'Expired' });
    await using foreign = fixture.watch({ namespace }, 'abcdef.3');
    await waitUntil(() => foreign.ended, { what: 'the watch to end' });
    expect(foreign.ended).toMatchObject({ reason: 'Expired' });
  });

  it('keeps nothing of a kind that goes beyond the limit, and goes on with the others', async () => {
    await apply(cluster, namespace, 'a', {});
    const big = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's', namespace },
      stringData: { text: 'x'.repeat(100_000) },
    };
    await cluster.apply({ type: typeOf(cluster, 'Secret'), namespace, name: 's' }, JSON.stringify(big), OPTIONS, signal);
    await using fixture = new CacheFixture(cluster);
    await fixture.keep(
      [select('ConfigMap', { namespaces: [namespace] }), select('Secret', { namespaces: [namespace], fields: ['data'] })],
      64 << 10,
    );
    expect(fixture.list({ namespace }).names).toContain('a');
    expect(() => fixture.list({ kind: 'Secret', namespace })).toThrow('go beyond object_cache.memory_limit');
    expect(fixture.cache.usedBytes).toBeLessThan(64 << 10);
  });

  it('says which kind the cluster does not serve', async () => {
    await using fixture = new CacheFixture(cluster);
    await fixture.keep([select('Gadget', { group: 'example.com' })]);
    expect(() => fixture.list({ group: 'example.com', kind: 'Gadget' })).toThrow('the cluster serves no kind Gadget.example.com');
  });
});
