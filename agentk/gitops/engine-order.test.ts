import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { FaultProxy } from '../../test/harness/fault-proxy.ts';
import { refusal } from '../../test/harness/fault-rules.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { configMap, crd, deployment, freshAgentId, type Manifest, TestEngine, unit, useEngine } from './engine-fixture.ts';
import type { ObjectResult } from './unit.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;
let engine: TestEngine;

useEngine(cluster, (fresh) => ({ namespace, api, engine } = fresh));

function path(name: string, resource = 'configmaps', base = '/api/v1'): string {
  return `${base}/namespaces/${namespace}/${resource}/${name}`;
}

function annotated<T extends Manifest>(manifest: T, annotations: Record<string, string>): T {
  return { ...manifest, metadata: { ...manifest.metadata, annotations } };
}

const wave = (manifest: Manifest, number: number): Manifest => annotated(manifest, { 'kas.gitops/wave': String(number) });
const dependsOn = (manifest: Manifest, ...references: string[]): Manifest =>
  annotated(manifest, { 'kas.gitops/depends-on': references.join(', ') });
const reference = (name: string, kind = 'ConfigMap', group = ''): string => `${group}/namespaces/${namespace}/${kind}/${name}`;

/** A workload whose pods find no node until `release`. */
function held(name: string): Manifest {
  const manifest = deployment(namespace, name);
  const { template, ...spec } = manifest['spec'] as { template: { spec: object; metadata: object } };
  const pod = { ...template.spec, nodeSelector: { [`test/${namespace}`]: name } };
  return { ...manifest, spec: { ...spec, template: { ...template, spec: pod } } };
}

async function release(name: string): Promise<void> {
  const [node] = await api.list('/api/v1/nodes');
  await cluster.kubectl(['label', 'node', node?.metadata.name ?? '', `test/${namespace}=${name}`, '--overwrite']);
}

function result(unitName: string, name: string): ObjectResult | undefined {
  return engine.recorder.last(unitName)?.objects.find(({ id }) => id.name === name);
}

async function waiting(unitName: string, name: string, message: string | RegExp): Promise<ObjectResult> {
  const found = (): ObjectResult | undefined => {
    const seen = result(unitName, name);
    const told = typeof message === 'string' ? seen?.message.includes(message) : message.test(seen?.message ?? '');
    return seen?.action === 'waiting' && seen.reason === 'Waiting' && told === true ? seen : undefined;
  };
  return await waitUntil(found, { what: `${name} to wait, saying ${message}`, intervalMs: 5 });
}

describe('Waves', () => {
  beforeEach(() => engine.configure(unit('one', { defaultNamespace: namespace })));

  it('hold objects until those of lower waves are applied and healthy, and say for what', async () => {
    const bundle = engine.submit('one', [
      held('db'),
      configMap(namespace, 'beside'),
      wave(configMap(namespace, 'later'), 1),
      wave(configMap(namespace, 'last'), 2),
      wave(configMap(namespace, 'first'), -1),
    ]);
    await waiting('one', 'later', `Waiting for Deployment ${namespace}/db (in progress: 0 of 1`);
    await waiting('one', 'last', 'Waiting for');
    const state = await engine.until(bundle, ['progressing']);
    expect(state).toMatchObject({
      reason: 'Waiting',
      message: expect.stringContaining(`Waiting for Deployment ${namespace}/db`),
    });
    expect(result('one', 'beside')?.action).toBe('created');
    expect(result('one', 'first')?.action).toBe('created');
    expect(await api.get(path('later'))).toBeUndefined();
    await release('db');
    const synced = await engine.until(bundle);
    expect(synced.objects.map(({ action }) => action)).toEqual(Array(5).fill('created'));
  });

  it('pass in one sync where everything is healthy at once', async () => {
    const manifests = [3, 1, 2, 0].map((number) => wave(configMap(namespace, `in-${number}`), number));
    const before = engine.recorder.syncs.length;
    await engine.apply('one', manifests);
    const versions = await Promise.all([0, 1, 2, 3].map(async (number) => await api.get(path(`in-${number}`))));
    const order = versions.map((object) => Number(object?.metadata.resourceVersion));
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    const phases = engine.recorder.syncs.slice(before).map(({ finishedAt }) => finishedAt);
    expect(new Set(phases.filter((at) => at !== undefined).map(Number)).size).toBe(1);
  });

  it('of Argo CD count, too, and what cannot be read of ours fails alone', async () => {
    const bad = annotated(configMap(namespace, 'bad'), { 'kas.gitops/wave': 'soon' });
    const argo = annotated(configMap(namespace, 'argo'), { 'argocd.argoproj.io/sync-wave': '-5' });
    const state = await engine.apply('one', [bad, argo, held('db')], 'failed');
    const failed = state.objects.find(({ id }) => id.name === 'bad');
    expect(failed).toMatchObject({ action: 'failed', reason: 'InvalidAnnotation', source: 'configmap.yaml:1' });
    expect(failed?.message).toBe('kas.gitops/wave: "soon" is no wave; write an integer between -999999999 and 999999999');
    expect(result('one', 'argo')?.action).toBe('created');
    expect(result('one', 'db')?.action).toBe('created');
  });

  it('lets a newer bundle end a wait at once, and drift of what stands is corrected meanwhile', async () => {
    engine.submit('one', [held('db'), configMap(namespace, 'beside'), wave(configMap(namespace, 'later'), 1)]);
    await waiting('one', 'later', 'Waiting for Deployment');
    await cluster.kubectl(['patch', 'configmap', 'beside', '-n', namespace, '--type=merge', '-p', '{"data":{"x":"edited"}}']);
    await api.until(
      path('beside'),
      (object) => (object?.['data'] as { x?: string } | undefined)?.x === '1',
      'the edit to be undone',
    );
    const state = await engine.apply('one', [configMap(namespace, 'beside'), wave(configMap(namespace, 'later'), 1)]);
    expect(state.objects.filter(({ action }) => action === 'pruned').map(({ id }) => id.name)).toEqual(['db']);
  });

  it('hold nothing that is as Git wants it', async () => {
    const later = wave(configMap(namespace, 'later'), 1);
    await engine.apply('one', [configMap(namespace, 'db'), later]);
    const bundle = engine.submit('one', [held('new'), configMap(namespace, 'db'), later]);
    const state = await engine.until(bundle, ['progressing']);
    expect(state.reason).toBe('WaitingForHealth');
    expect(result('one', 'later')?.action).toBe('unchanged');
  });
});

describe('depends-on', () => {
  beforeEach(() => engine.configure(unit('one', { defaultNamespace: namespace })));

  it('waits for the object to be healthy, whatever the rest does', async () => {
    const bundle = engine.submit('one', [
      held('db'),
      dependsOn(configMap(namespace, 'app'), reference('db', 'Deployment', 'apps')),
      annotated(configMap(namespace, 'next'), { 'config.kubernetes.io/depends-on': reference('app') }),
      configMap(namespace, 'free'),
    ]);
    await waiting('one', 'app', `Waiting for Deployment ${namespace}/db (in progress: `);
    await waiting('one', 'next', `Waiting for ConfigMap ${namespace}/app (it waits, too)`);
    expect(result('one', 'free')?.action).toBe('created');
    await release('db');
    await engine.until(bundle);
  });

  it('names a circle on each of its objects, before anything of it is applied; others go on', async () => {
    const state = await engine.apply(
      'one',
      [
        dependsOn(configMap(namespace, 'a'), reference('b')),
        dependsOn(configMap(namespace, 'b'), reference('a')),
        dependsOn(configMap(namespace, 'c'), reference('a')),
        configMap(namespace, 'd'),
      ],
      'failed',
    );
    const [a, b] = [`ConfigMap ${namespace}/a`, `ConfigMap ${namespace}/b`];
    expect(result('one', 'a')).toMatchObject({ action: 'failed', reason: 'DependencyCycle' });
    expect(result('one', 'a')?.message).toContain(`${a} -> ${b} -> ${a}`);
    expect(result('one', 'b')?.message).toContain(`${b} -> ${a} -> ${b}`);
    expect(result('one', 'c')).toMatchObject({
      action: 'waiting',
      message: expect.stringContaining(`Waiting for ${a} (failed: `),
    });
    expect(state.objects.find(({ id }) => id.name === 'd')?.action).toBe('created');
    expect(await api.get(path('a'))).toBeUndefined();
    await engine.apply('one', [configMap(namespace, 'a'), dependsOn(configMap(namespace, 'b'), reference('a'))]);
  });

  it('fails for what nobody describes and for what is no reference', async () => {
    await engine.apply(
      'one',
      [dependsOn(configMap(namespace, 'a'), reference('gone')), dependsOn(configMap(namespace, 'b'), 'ConfigMap/x')],
      'failed',
    );
    expect(result('one', 'a')).toMatchObject({ reason: 'DependencyNotFound', source: 'configmap.yaml:1' });
    expect(result('one', 'a')?.message).toContain(`no unit of this agent describes ${reference('gone')}`);
    expect(result('one', 'b')).toMatchObject({ reason: 'InvalidAnnotation' });
    expect(result('one', 'b')?.message).toContain('"ConfigMap/x" names no object');
  });
});

describe('Across units', () => {
  it('an object waits for one of another unit, and starts when that is healthy', async () => {
    engine.configure(unit('base', { defaultNamespace: namespace }), unit('app', { defaultNamespace: namespace }));
    const app = engine.submit('app', [
      dependsOn(configMap(namespace, 'settings'), reference('db', 'Deployment', 'apps')),
      configMap(namespace, 'free'),
    ]);
    await waiting('app', 'settings', `Waiting for Deployment ${namespace}/db (no unit describes it yet)`);
    const base = engine.submit('base', [held('db')]);
    await waiting('app', 'settings', `Waiting for Deployment ${namespace}/db (in progress: `);
    expect(result('app', 'free')?.action).toBe('created');
    await release('db');
    await Promise.all([engine.until(base), engine.until(app)]);
  });

  it('an object waits no longer for one of a unit that left the configuration, and says so', async () => {
    const app = unit('app', { defaultNamespace: namespace });
    engine.configure(unit('base', { defaultNamespace: namespace }), app);
    engine.submit('base', [held('db')]);
    engine.submit('app', [dependsOn(configMap(namespace, 'settings'), reference('db', 'Deployment', 'apps'))]);
    await waiting('app', 'settings', `Waiting for Deployment ${namespace}/db (in progress: `);
    engine.configure(app);
    const told = await waitUntil(() => [result('app', 'settings')].find((settings) => settings?.action === 'failed'), {
      what: 'the object to say that nobody describes what it depends on',
      timeoutMs: 20_000,
      intervalMs: 5,
    });
    expect(told.reason).toBe('DependencyNotFound');
  });

  it('names circles through several units on each of their objects', async () => {
    engine.configure(
      unit('base', { defaultNamespace: namespace }),
      unit('app', { defaultNamespace: namespace, dependsOn: ['base'] }),
    );
    const base = engine.submit('base', [dependsOn(configMap(namespace, 'a'), reference('b')), configMap(namespace, 'free')]);
    await waiting('base', 'a', 'no unit describes it yet');
    const app = engine.submit('app', [configMap(namespace, 'b')]);
    await Promise.all([engine.until(base, ['failed']), engine.until(app, ['failed'])]);
    const [a, b] = [`ConfigMap ${namespace}/a of unit base`, `ConfigMap ${namespace}/b of unit app`];
    expect(result('base', 'a')).toMatchObject({ action: 'failed', reason: 'DependencyCycle' });
    expect(result('base', 'a')?.message).toContain(`${a} -> ${b} -> unit base -> ${a}`);
    expect(result('app', 'b')?.message).toContain(`${b} -> unit base -> ${a} -> ${b}`);
    expect(result('base', 'free')?.action).toBe('created');
    const mended = engine.submit('base', [configMap(namespace, 'a'), configMap(namespace, 'free')]);
    await Promise.all([engine.until(mended), engine.until(app)]);
  });

  it('a unit waits until another is synced at its newest bundle', async () => {
    engine.configure(
      unit('base', { defaultNamespace: namespace }),
      unit('app', { defaultNamespace: namespace, dependsOn: ['base'] }),
      unit('free', { defaultNamespace: namespace }),
    );
    const app = engine.submit('app', [configMap(namespace, 'settings')]);
    await engine.apply('free', [configMap(namespace, 'free')]);
    await waiting('app', 'settings', 'Waiting for unit base (its bundle did not come yet)');
    const base = engine.submit('base', [held('db')]);
    await waiting('app', 'settings', /Waiting for unit base \(progressing: .*db/);
    expect(engine.recorder.last('app')).toMatchObject({ phase: 'progressing', reason: 'Waiting' });
    await release('db');
    await Promise.all([engine.until(base), engine.until(app)]);
    // What is to be removed waits, too.
    engine.submit('base', [held('db'), held('more')]);
    const smaller = engine.submit('app', [configMap(namespace, 'other')]);
    await waiting('app', 'other', 'Waiting for unit base');
    expect(await api.get(path('settings'))).toBeDefined();
    await release('more');
    await engine.apply('base', [configMap(namespace, 'db')]);
    await engine.until(smaller);
    expect(await api.get(path('settings'))).toBeUndefined();
  });
});

describe('A prune', () => {
  it('goes backwards through waves and dependencies, and waits until each is gone', async () => {
    engine.configure(unit('one', { defaultNamespace: namespace }));
    const keep = configMap(namespace, 'keep');
    const first = wave(configMap(namespace, 'first'), -1);
    const second = configMap(namespace, 'second');
    const last = dependsOn(configMap(namespace, 'last'), reference('second'));
    await engine.apply('one', [keep, first, second, last]);
    for (const name of ['last', 'second']) {
      await cluster.kubectl([
        'patch',
        'configmap',
        name,
        '-n',
        namespace,
        '--type=merge',
        '-p',
        '{"metadata":{"finalizers":["test/held"]}}',
      ]);
    }
    const bundle = engine.submit('one', [keep]);
    const going = async (): Promise<readonly string[]> => {
      const left = await api.list(`/api/v1/namespaces/${namespace}/configmaps`);
      return left.filter(({ metadata }) => 'deletionTimestamp' in metadata).map(({ metadata }) => metadata.name);
    };
    await waiting('one', 'second', 'Waiting until');
    expect(await going()).toEqual(['last']);
    await cluster.kubectl([
      'patch',
      'configmap',
      'last',
      '-n',
      namespace,
      '--type=merge',
      '-p',
      '{"metadata":{"finalizers":null}}',
    ]);
    await waitUntil(async () => (await going()).includes('second'), { what: 'second to go' });
    expect(await api.get(path('last'))).toBeUndefined();
    expect(await api.get(path('first'))).toBeDefined();
    await cluster.kubectl([
      'patch',
      'configmap',
      'second',
      '-n',
      namespace,
      '--type=merge',
      '-p',
      '{"metadata":{"finalizers":null}}',
    ]);
    await engine.until(bundle);
    expect(await api.get(path('first'))).toBeUndefined();
  });

  it('leaves an object while one of another unit depends on it', async () => {
    engine.configure(unit('base', { defaultNamespace: namespace }), unit('app', { defaultNamespace: namespace }));
    const keep = (name: string): Manifest => configMap(namespace, `keep-${name}`);
    await engine.apply('base', [keep('base'), configMap(namespace, 'db')]);
    await engine.apply('app', [keep('app'), dependsOn(configMap(namespace, 'web'), reference('db'))]);
    const base = engine.submit('base', [keep('base')]);
    await waiting('base', 'db', `Waiting until ConfigMap ${namespace}/web of another unit, which depends on it, is gone`);
    expect(await api.get(path('db'))).toBeDefined();
    await engine.apply('app', [keep('app')]);
    await engine.until(base);
    expect(await api.get(path('db'))).toBeUndefined();
  });
});

describe('A CRD', () => {
  it('is known to all resources of the commit that changes it, though API servers learn of it one after another', async () => {
    await using proxy = await FaultProxy.listen(cluster.kubeconfigPath);
    await using late = new TestEngine({ kubeconfig: proxy.kubeconfigPath, agentId: freshAgentId(), namespace });
    late.configure(unit('late', { defaultNamespace: namespace }));
    const group = `${namespace}.example.org`;
    const before = crd(group, 'Widget');
    const after = JSON.parse(JSON.stringify(before).replace('"size":', '"color":{"type":"string"},"size":')) as Manifest;
    const widget = (spec: object): Manifest => ({
      apiVersion: `${group}/v1`,
      kind: 'Widget',
      metadata: { name: 'w', namespace },
      spec,
    });
    await late.apply('late', [before, widget({ size: 1 })]);
    const message = 'failed to create typed patch object (w; Kind=Widget): .spec.color: field not declared in schema';
    using stale = proxy.on({ method: 'PATCH', path: /widgets\/w(\?|$)/ }, refusal(500, 'InternalError', message), 2);
    const syncs = late.recorder.syncs.length;
    await late.apply('late', [after, widget({ size: 1, color: 'red' })]);
    expect(stale.hits).toBe(2);
    expect(late.recorder.syncs.slice(syncs).map(({ phase }) => phase)).not.toContain('failed');
    // What is wrong stays wrong.
    const state = await late.apply('late', [after, widget({ shape: 'round' })], 'failed');
    expect(state.objects.find(({ id }) => id.name === 'w')).toMatchObject({ reason: 'Invalid' });
    await late.apply('late', [configMap(namespace, 'last')]);
  });
});
