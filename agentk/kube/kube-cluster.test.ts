import { useCluster } from '../../test/harness/cluster.ts';
import { DelayProxy } from '../../test/harness/delay-proxy.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import type { ObjectRef } from './cluster.ts';
import type { KubeCluster } from './kube-cluster.ts';
import { KubeError } from './kube-error.ts';
import { configMapBody, openCluster, typeOf, writeKubeconfigFor } from './testing/open-cluster.ts';

const OPTIONS = { fieldManager: 'agentk-test', force: true } as const;

describe('KubeCluster', () => {
  const shared = useCluster();
  const signal = new AbortController().signal;
  let cluster: KubeCluster;
  let namespace: string;
  const configMap = (name: string): ObjectRef => ({ type: typeOf(cluster, 'ConfigMap'), namespace, name });

  beforeAll(async () => {
    ({ cluster } = await openCluster(shared.kubeconfigPath));
    namespace = await shared.namespace();
  });

  afterAll(async () => await cluster[Symbol.asyncDispose]());

  async function refusal(work: Promise<unknown>): Promise<KubeError> {
    const error = await work.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(KubeError);
    return error as KubeError;
  }

  it('tells the version of the server', async () => {
    expect(await cluster.version(signal)).toMatch(/^v1\.\d+/);
  });

  it('answers requests that waited for a free stream behind ones that were given up', async () => {
    const ref: ObjectRef = { ...configMap('kube-root-ca.crt'), namespace: 'kube-system' };
    const ask = (count: number, until: AbortSignal): Promise<unknown>[] =>
      Array.from({ length: count }, async () => await cluster.get(ref, until));
    const given = new AbortController();
    const first = ask(100, signal);
    const givenUp = Promise.allSettled(ask(300, given.signal));
    const last = ask(10, signal);
    setImmediate(() => given.abort());
    await givenUp;
    expect(await Promise.all([...first, ...last])).toHaveLength(110);
  });

  it('creates by the first apply and changes by the next', async () => {
    const ref = configMap('applied');
    const first = await cluster.apply(ref, configMapBody(ref, { a: '1' }), OPTIONS, signal);
    const second = await cluster.apply(ref, configMapBody(ref, { b: '2' }), OPTIONS, signal);
    expect([first.created, second.created]).toEqual([true, false]);
    expect((await cluster.get(ref, signal))['data']).toEqual({ b: '2' });
    expect(second.object.metadata.managedFields?.[0]).toMatchObject({ manager: 'agentk-test', operation: 'Apply' });
  });

  it('reports a conflict with another manager field by field unless forced', async () => {
    const ref = configMap('contested');
    await cluster.apply(ref, configMapBody(ref, { a: '1' }), OPTIONS, signal);
    const other = { fieldManager: 'other', force: false };
    const error = await refusal(cluster.apply(ref, configMapBody(ref, { a: '2' }), other, signal));
    expect(error).toMatchObject({ code: 409, reason: 'Conflict' });
    expect(error.causes).toContainEqual(expect.objectContaining({ field: '.data.a', reason: 'FieldManagerConflict' }));
    await cluster.apply(ref, configMapBody(ref, { a: '2' }), { ...other, force: true }, signal);
    expect((await cluster.get(ref, signal))['data']).toEqual({ a: '2' });
  });

  it('refuses to delete by an old resourceVersion or another uid', async () => {
    const ref = configMap('deleted');
    const { object: old } = await cluster.apply(ref, configMapBody(ref, { a: '1' }), OPTIONS, signal);
    const { object } = await cluster.apply(ref, configMapBody(ref, { a: '2' }), OPTIONS, signal);
    const { uid, resourceVersion } = object.metadata;
    const remove = async (preconditions: { uid: string; resourceVersion: string }): Promise<unknown> =>
      await cluster.delete(ref, { ...preconditions, propagationPolicy: 'Background' }, signal);
    expect(await refusal(remove({ uid, resourceVersion: old.metadata.resourceVersion }))).toMatchObject({ code: 409 });
    expect(await refusal(remove({ uid: 'another', resourceVersion }))).toMatchObject({ code: 409 });
    await remove({ uid, resourceVersion });
    expect(await refusal(cluster.get(ref, signal))).toMatchObject({ code: 404, reason: 'NotFound' });
    expect(await refusal(remove({ uid, resourceVersion }))).toMatchObject({ code: 404 });
  });

  it('patches by JSON patch under the name of its manager', async () => {
    const ref = configMap('patched');
    await cluster.apply(ref, configMapBody(ref, { a: '1' }), OPTIONS, signal);
    const patch = [{ op: 'add', path: '/data/b', value: '2' }];
    const object = await cluster.jsonPatch(ref, patch, 'patcher', signal);
    expect(object['data']).toEqual({ a: '1', b: '2' });
    expect(object.metadata.managedFields?.map((entry) => entry.manager)).toContain('patcher');
    const stale = [{ op: 'replace', path: '/metadata/resourceVersion', value: '1' }];
    expect(await refusal(cluster.jsonPatch(ref, stale, 'patcher', signal))).toMatchObject({ code: 409 });
  });

  it('lists page by page, by label and namespace, with kinds filled in', async () => {
    const listed = await shared.namespace();
    const refs = Array.from({ length: 1_100 }, (_, index) => ({ ...configMap(`item-${index}`), namespace: listed }));
    await Promise.all(
      refs.map(async (ref) => await cluster.apply(ref, configMapBody(ref, {}, { set: 'many' }), OPTIONS, signal)),
    );
    const objects = await cluster.list(typeOf(cluster, 'ConfigMap'), { namespace: listed, labelSelector: 'set=many' }, signal);
    expect(new Set(objects.map((object) => object.metadata.name)).size).toBe(1_100);
    expect(objects[0]).toMatchObject({ kind: 'ConfigMap', apiVersion: 'v1' });
    expect(await cluster.list(typeOf(cluster, 'ConfigMap'), { namespace: listed, labelSelector: 'set=none' }, signal)).toEqual(
      [],
    );
  });

  it('reaches cluster-scoped objects, with names that need escaping', async () => {
    const type = typeOf(cluster, 'ClusterRole', 'rbac.authorization.k8s.io');
    const ref = { type, namespace: '', name: `system:${namespace}?` };
    const body = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: ref.name }, rules: [] };
    const { object } = await cluster.apply(ref, JSON.stringify(body), OPTIONS, signal);
    expect((await cluster.get(ref, signal)).metadata.uid).toBe(object.metadata.uid);
    const { uid, resourceVersion } = object.metadata;
    await cluster.delete(ref, { uid, resourceVersion, propagationPolicy: 'Foreground' }, signal);
  });

  it('names every invalid field of a refused object', async () => {
    const type = typeOf(cluster, 'Service');
    const ref = { type, namespace, name: 'broken' };
    const body = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'broken', namespace }, spec: { ports: [{ port: 0 }] } };
    const error = await refusal(cluster.apply(ref, JSON.stringify(body), OPTIONS, signal));
    expect(error).toMatchObject({ code: 422, reason: 'Invalid' });
    expect(error.message).toContain('Service "broken" is invalid');
    expect(error.causes).toContainEqual(expect.objectContaining({ field: 'spec.ports[0].port' }));
  });

  it('hands on the text of answers that are not a Status', async () => {
    const type = {
      group: 'nobody.example',
      version: 'v1',
      kind: 'None',
      resource: 'nones',
      namespaced: true,
      verbs: new Set<string>(),
    };
    const error = await refusal(cluster.get({ type, namespace, name: 'x' }, signal));
    expect(error).toMatchObject({ code: 404, message: '404 page not found' });
  });

  it('tells that a namespace is going away', async () => {
    const dying = await shared.namespace();
    const held = { ...configMap('held'), namespace: dying };
    const body = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'held', namespace: dying, finalizers: ['test.example/hold'] },
    };
    await cluster.apply(held, JSON.stringify(body), OPTIONS, signal);
    await shared.kubectl(['delete', 'namespace', dying, '--wait=false']);
    const late = { ...configMap('late'), namespace: dying };
    const error = await refusal(cluster.apply(late, configMapBody(late, {}), OPTIONS, signal));
    expect(error).toMatchObject({ code: 403, reason: 'Forbidden' });
    expect(error.causes.map((cause) => cause.reason)).toContain('NamespaceTerminating');
    await cluster.jsonPatch(held, [{ op: 'remove', path: '/metadata/finalizers' }], 'agentk-test', signal);
  });

  it('ends a request that is aborted with the reason of its signal', async () => {
    const reason = new Error('newer bundle');
    await expect(cluster.get(configMap('any'), AbortSignal.abort(reason))).rejects.toBe(reason);
    const controller = new AbortController();
    const running = cluster.list(typeOf(cluster, 'ConfigMap'), {}, controller.signal);
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
  });
});

describe('KubeCluster behind a network that fails', () => {
  const shared = useCluster();
  const signal = new AbortController().signal;
  let directory: TempDir;
  let proxy: DelayProxy;
  let cluster: KubeCluster;

  beforeAll(async () => {
    directory = await createTempDir();
    const { port } = new URL(/server: (\S+)/.exec(await shared.kubectl(['config', 'view']))?.[1] ?? '');
    proxy = await DelayProxy.listen({ port: Number(port) });
    ({ cluster } = await openCluster(await writeKubeconfigFor(proxy.port, shared.kubeconfigPath, directory.path)));
  });

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
    await proxy.close();
    await directory.remove();
  });

  it('loses none of 2,000 applies, and calls each of them a creation, though the connection is cut twice', async () => {
    const namespace = await shared.namespace();
    const type = typeOf(cluster, 'ConfigMap');
    let done = 0;
    const applied = await Promise.all(
      Array.from({ length: 2_000 }, async (_, index) => {
        const ref = { type, namespace, name: `item-${index}` };
        const result = await cluster.apply(ref, configMapBody(ref, { value: `${index}` }, { set: 'cut' }), OPTIONS, signal);
        done += 1;
        if (done === 500 || done === 1_300) proxy.cut();
        return result;
      }),
    );
    const live = await cluster.list(type, { namespace, labelSelector: 'set=cut' }, signal);
    expect(live.length).toBe(2_000);
    expect(new Set(live.map((object) => object.metadata.uid))).toEqual(new Set(applied.map(({ object }) => object.metadata.uid)));
    expect(applied.filter(({ created }) => !created)).toEqual([]);
  });

  it('says that nobody answers when the server is gone', async () => {
    await using gone = await DelayProxy.listen({ port: 1 });
    const opening = openCluster(await writeKubeconfigFor(gone.port, shared.kubeconfigPath, directory.path), { retryForMs: 300 });
    await expect(opening).rejects.toMatchObject({ name: 'KubeError', code: 0, message: expect.stringContaining('127.0.0.1') });
  });
});
