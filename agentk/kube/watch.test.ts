import { useCluster } from '../../test/harness/cluster.ts';
import { DelayProxy } from '../../test/harness/delay-proxy.ts';
import { createTempDir } from '../../test/harness/temp-dir.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import type { KubeCluster } from './kube-cluster.ts';
import { KubeError } from './kube-error.ts';
import {
  apply,
  configMapBody,
  follow,
  OPTIONS,
  openCluster,
  portOf,
  remove,
  typeOf,
  WatchRecorder,
  writeKubeconfigFor,
} from './testing/open-cluster.ts';

const signal = new AbortController().signal;

describe('watch', () => {
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

  it('delivers what exists, says that this was all, and goes on with what changes', async () => {
    await apply(cluster, namespace, 'old', { w: namespace });
    await apply(cluster, namespace, 'foreign', {});
    await using watch = follow(cluster, `w=${namespace}`);
    await watch.waitFor('SYNCED old');
    await apply(cluster, namespace, 'new', { w: namespace });
    await apply(cluster, namespace, 'old', { w: namespace });
    await remove(cluster, namespace, 'new');
    await watch.waitFor('DELETED new');
    expect(watch.lines).toEqual(['ADDED old', 'SYNCED old', 'ADDED new', 'MODIFIED old', 'DELETED new']);
    expect(watch.events.find((event) => event.type === 'SYNCED')?.keys).toEqual(new Set([`${namespace}/old`]));
  });

  it('does not tell a change that is known, once the list was told', async () => {
    const listed = await apply(cluster, namespace, 'known', { w: namespace });
    const known = new Map([[listed.metadata.uid, listed.metadata.resourceVersion]]);
    const isKnown = (uid: string, resourceVersion: string): boolean => known.get(uid) === resourceVersion;
    await using watch = new WatchRecorder((stop) =>
      cluster.watch(typeOf(cluster, 'ConfigMap'), { labelSelector: `w=${namespace}`, isKnown }, stop),
    );
    await watch.waitFor('SYNCED known');
    const ref = { type: typeOf(cluster, 'ConfigMap'), namespace, name: 'known' };
    // What is asked about is the version of this object: the same words in its content mean nothing.
    const data = { a: `"uid":"${listed.metadata.uid}","resourceVersion":"${listed.metadata.resourceVersion}"` };
    await cluster.apply(ref, configMapBody(ref, data, { w: namespace }), OPTIONS, signal);
    await watch.waitFor('MODIFIED known');
    expect(watch.lines).toEqual(['ADDED known', 'SYNCED known', 'MODIFIED known']);
    await remove(cluster, namespace, 'known');
    await watch.waitFor('DELETED known');
  });

  it('leaves out the event of a version that an answer told', async () => {
    const asked: string[] = [];
    const isKnown = (uid: string, resourceVersion: string): boolean => {
      asked.push(`${uid} ${resourceVersion}`);
      return true;
    };
    await using watch = new WatchRecorder((stop) =>
      cluster.watch(typeOf(cluster, 'ConfigMap'), { labelSelector: `w=${namespace}`, isKnown }, stop),
    );
    await watch.waitFor('SYNCED');
    const { metadata } = await apply(cluster, namespace, 'ours', { w: namespace });
    await waitUntil(() => asked.length > 0, { what: 'the watch to ask' });
    expect(asked).toEqual([`${metadata.uid} ${metadata.resourceVersion}`]);
    await remove(cluster, namespace, 'ours');
    await watch.waitFor('DELETED ours');
    expect(watch.lines).toEqual(['SYNCED', 'DELETED ours']);
  });

  it('reports an object as deleted when it loses the label', async () => {
    await apply(cluster, namespace, 'one', { w: namespace });
    await using watch = follow(cluster, `w=${namespace}`);
    await watch.waitFor('SYNCED one');
    await apply(cluster, namespace, 'one', {});
    await watch.waitFor('DELETED one');
    await apply(cluster, namespace, 'one', { w: namespace });
    await watch.waitFor('ADDED one', 2);
    expect(watch.lines).toEqual(['ADDED one', 'SYNCED one', 'DELETED one', 'ADDED one']);
  });

  it('selects by field and follows kinds without a watch cache, like Events', async () => {
    const type = typeOf(cluster, 'Event', 'events.k8s.io');
    await using watch = new WatchRecorder((stop) =>
      cluster.watch(type, { fieldSelector: `metadata.namespace=${namespace},reason=Tested` }, stop),
    );
    await watch.waitFor('SYNCED');
    for (const reason of ['Ignored', 'Tested']) {
      const event = {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { name: reason.toLowerCase(), namespace },
        involvedObject: { namespace },
        reason,
      };
      await shared.kubectl(['create', '-f', '-'], { stdin: JSON.stringify(event) });
    }
    await watch.waitFor('ADDED tested');
    expect(watch.lines).toEqual(['SYNCED', 'ADDED tested']);
  });

  it('delivers objects of nearly a megabyte whole', async () => {
    const ref = { type: typeOf(cluster, 'ConfigMap'), namespace, name: 'big' };
    const value = 'é'.repeat(450_000);
    await using watch = follow(cluster, `w=${namespace}`);
    await watch.waitFor('SYNCED');
    await cluster.apply(ref, configMapBody(ref, { value }, { w: namespace }), OPTIONS, signal);
    await watch.waitFor('ADDED big');
    const added = watch.events.find((event) => event.type === 'ADDED');
    if (added?.type !== 'ADDED') throw new Error('no object came');
    expect((added.object['data'] as { value: string }).value === value).toBe(true);
  });

  it('loses nothing when the consumer is slower than megabytes of changes', async () => {
    const type = typeOf(cluster, 'ConfigMap');
    const written = Promise.withResolvers<void>();
    await using watch = new WatchRecorder(async function* (stop) {
      for await (const event of cluster.watch(type, { labelSelector: `w=${namespace}` }, stop)) {
        yield event;
        if (event.type === 'SYNCED') await written.promise;
      }
    });
    await watch.waitFor('SYNCED');
    const names = Array.from({ length: 20 }, (_, index) => `item-${index}`);
    for (const name of names) {
      const ref = { type, namespace, name };
      await cluster.apply(ref, configMapBody(ref, { value: 'x'.repeat(400_000) }, { w: namespace }), OPTIONS, signal);
    }
    written.resolve();
    await watch.waitFor('ADDED item-19');
    expect(watch.lines).toEqual(['SYNCED', ...names.map((name) => `ADDED ${name}`)]);
  });

  it('ends with the refusal when the kind is gone', async () => {
    const plural = `things${namespace.slice(5)}`;
    const group = 'watch.test.example';
    const schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
    const crd = {
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: `${plural}.${group}` },
      spec: {
        group,
        scope: 'Namespaced',
        names: { plural, kind: 'Thing' },
        versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
      },
    };
    await shared.kubectl(['create', '-f', '-'], { stdin: JSON.stringify(crd) });
    await shared.kubectl(['wait', '--for=condition=Established', `crd/${plural}.${group}`]);
    await waitUntil(
      async () => {
        await cluster.discover(signal);
        return cluster.resourceType(group, 'Thing');
      },
      { what: 'the kind to be discovered' },
    );
    const thing = { apiVersion: `${group}/v1`, kind: 'Thing', metadata: { name: 'one', namespace } };
    await shared.kubectl(['create', '-f', '-'], { stdin: JSON.stringify(thing) });
    await using watch = new WatchRecorder((stop) => cluster.watch(typeOf(cluster, 'Thing', group), {}, stop));
    await watch.waitFor('SYNCED one');
    await shared.kubectl(['delete', 'crd', `${plural}.${group}`]);
    await watch.waitFor('DELETED one');
    const ended = await waitUntil(() => watch.ended, { what: 'the watch to end' });
    expect(ended).toBeInstanceOf(KubeError);
    expect((ended as KubeError).code).toBe(404);
  });

  it('ends with the refusal when the selector is none', async () => {
    await using watch = follow(cluster, 'a in');
    const ended = await waitUntil(() => watch.ended, { what: 'the watch to end' });
    expect(ended).toMatchObject({ code: 400 });
  });

  it('ends with the reason of its signal', async () => {
    const reason = new Error('stopped');
    const controller = new AbortController();
    const reading = (async () => {
      for await (const event of cluster.watch(typeOf(cluster, 'ConfigMap'), {}, controller.signal)) {
        if (event.type === 'SYNCED') controller.abort(reason);
      }
    })();
    await expect(reading).rejects.toBe(reason);
  });
});

describe('watch behind a network that fails', () => {
  const shared = useCluster();

  it('resumes where it was cut off, without listing again', async () => {
    await using directory = await createTempDir();
    await using proxy = await DelayProxy.listen({ port: portOf(await shared.kubectl(['config', 'view'])) });
    const kubeconfig = await writeKubeconfigFor(proxy.port, shared.kubeconfigPath, directory.path);
    const { cluster: direct } = await openCluster(shared.kubeconfigPath);
    await using _direct = direct;
    const { cluster } = await openCluster(kubeconfig);
    await using _cluster = cluster;
    const namespace = await shared.namespace();
    await apply(direct, namespace, 'kept', { w: namespace });
    await apply(direct, namespace, 'gone', { w: namespace });
    await using watch = follow(cluster, `w=${namespace}`);
    await watch.waitFor('SYNCED gone,kept');
    proxy.pause();
    proxy.cut();
    await remove(direct, namespace, 'gone');
    await apply(direct, namespace, 'new', { w: namespace });
    proxy.cut();
    proxy.resume();
    await watch.waitFor('ADDED new');
    expect(watch.lines.slice(-3)).toEqual(['SYNCED gone,kept', 'DELETED gone', 'ADDED new']);
  });

  it('keeps 120 watches on connections of their own, so that a write stays fast', async () => {
    await using directory = await createTempDir();
    await using proxy = await DelayProxy.listen({ port: portOf(await shared.kubectl(['config', 'view'])) });
    const { cluster } = await openCluster(await writeKubeconfigFor(proxy.port, shared.kubeconfigPath, directory.path));
    await using _cluster = cluster;
    const namespace = await shared.namespace();
    const watches = Array.from({ length: 120 }, (_, index) => follow(cluster, `w=${namespace}-${index}`));
    await Promise.all(watches.map(async (watch) => await watch.waitFor('SYNCED')));
    expect(proxy.connections).toBe(3);
    const startedAt = performance.now();
    await apply(cluster, namespace, 'one', { w: `${namespace}-119` });
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    await watches.at(-1)?.waitFor('ADDED one');
    proxy.cut();
    await apply(cluster, namespace, 'two', { w: `${namespace}-0` });
    await watches[0]?.waitFor('ADDED two');
    await Promise.all(watches.map(async (watch) => await watch[Symbol.asyncDispose]()));
  });
});
