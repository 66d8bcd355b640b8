import type { DriftPolicy } from '../../lib/unit-policy.ts';
import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { configMap, crd, deployment, freshAgentId, type Manifest, type TestEngine, unit, useEngine } from './engine-fixture.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;
let engine: TestEngine;

useEngine(cluster, (fresh) => ({ namespace, api, engine } = fresh));

async function start(policy: DriftPolicy, ...manifests: readonly Manifest[]): Promise<void> {
  engine.configure(unit('one', { defaultNamespace: namespace, driftPolicy: policy }));
  await engine.apply('one', manifests);
}

async function kubectl(...args: readonly string[]): Promise<string> {
  return await cluster.kubectl(['-n', namespace, ...args]);
}

const deployments = (name: string): string => `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;
const configMaps = (name: string): string => `/api/v1/namespaces/${namespace}/configmaps/${name}`;

describe('Under the policy "correct"', () => {
  it('puts back a scaled Deployment and names field, values and manager', async () => {
    await start('correct', deployment(namespace, 'web', 'example.org/app:1', 2));
    await kubectl('scale', 'deployment', 'web', '--replicas=5');
    const drift = await engine.drift(() => true);
    expect(drift).toMatchObject({
      unit: 'one',
      project: 'group/one',
      outcome: 'corrected',
      deleted: false,
      id: { kind: 'Deployment', name: 'web' },
      fields: [{ path: '.spec.replicas', desired: '2', live: '5' }],
    });
    expect(drift.manager).not.toBe('');
    expect(drift.resolvedAt).toBeDefined();
    const live = await api.get(deployments('web'));
    expect((live!['spec'] as { replicas: number }).replicas).toBe(2);
  });

  it('puts back an edited field and leaves what it does not own', async () => {
    await start('correct', configMap(namespace, 'a', { x: '1', y: '1' }));
    await kubectl('patch', 'configmap', 'a', '--type=merge', '--field-manager=hand', '-p', '{"data":{"x":"2","z":"3"}}');
    const drift = await engine.drift(() => true);
    expect(drift).toMatchObject({
      outcome: 'corrected',
      manager: 'hand',
      fields: [{ path: '.data.x', desired: '"1"', live: '"2"' }],
    });
    expect((await api.get(configMaps('a')))?.['data']).toEqual({ x: '1', y: '1', z: '3' });
  });

  it('makes a deleted object again', async () => {
    await start('correct', configMap(namespace, 'a'));
    await kubectl('delete', 'configmap', 'a');
    const drift = await engine.drift(() => true);
    expect(drift).toMatchObject({ deleted: true, outcome: 'corrected', id: { name: 'a' } });
    expect((await api.get(configMaps('a')))?.['data']).toEqual({ x: '1' });
    expect(engine.recorder.drifts).toHaveLength(1);
  });

  it('puts back a label of its own that was taken off', async () => {
    await start('correct', { ...configMap(namespace, 'a'), metadata: { name: 'a', namespace, labels: { mine: 'yes' } } });
    const before = await api.get(configMaps('a'));
    await kubectl('label', 'configmap', 'a', 'kas.gitops/agent-', 'applyset.kubernetes.io/part-of-');
    const drift = await engine.drift(() => true);
    expect(drift).toMatchObject({ deleted: false, outcome: 'corrected' });
    expect(drift.fields.map(({ path }) => path).sort()).toEqual([
      '.metadata.labels["applyset.kubernetes.io/part-of"]',
      '.metadata.labels["kas.gitops/agent"]',
    ]);
    const after = await api.get(configMaps('a'));
    expect(after?.metadata.uid).toBe(before?.metadata.uid);
    expect(after?.metadata.labels).toEqual(before?.metadata.labels);
    // The object is watched again.
    await kubectl('patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"x":"2"}}');
    await engine.drift(({ fields }) => fields[0]?.path === '.data.x');
  });

  it('removes a container that took the place of ours by another name', async () => {
    await start('correct', deployment(namespace, 'web'));
    await kubectl(
      'patch',
      'deployment',
      'web',
      '--type=json',
      '-p',
      '[{"op":"replace","path":"/spec/template/spec/containers/0/name","value":"evil"}]',
    );
    await engine.drift(({ outcome }) => outcome === 'corrected');
    const live = await api.get(deployments('web'));
    const { spec } = (live!['spec'] as { template: { spec: { containers: { name: string }[] } } }).template;
    expect(spec.containers.map(({ name }) => name)).toEqual(['app']);
  });

  it('removes it as well when the correction comes with a sync, since the policy was another before', async () => {
    await start('report', deployment(namespace, 'web'));
    const rename = '[{"op":"replace","path":"/spec/template/spec/containers/0/name","value":"evil"}]';
    await kubectl('patch', 'deployment', 'web', '--type=json', '-p', rename);
    await engine.drift(({ outcome }) => outcome === 'reported');
    engine.configure(unit('one', { defaultNamespace: namespace, driftPolicy: 'correct' }));
    const names = (object: unknown): string[] =>
      (object as { spec: { template: { spec: { containers: { name: string }[] } } } }).spec.template.spec.containers.map(
        ({ name }) => name,
      );
    const live = await api.until(deployments('web'), (object) => names(object).join() === 'app', 'the container of Git alone');
    expect(names(live)).toEqual(['app']);
  });

  it('cures an edit that makes every apply fail: a value replaced by valueFrom', async () => {
    await start('correct', deployment(namespace, 'web'));
    const path = '/spec/template/spec/containers/0/env/0';
    const value = { name: 'A', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } };
    await kubectl('patch', 'deployment', 'web', '--type=json', '-p', JSON.stringify([{ op: 'replace', path, value }]));
    await engine.drift(({ outcome }) => outcome === 'corrected');
    const live = await api.get(deployments('web'));
    const { spec } = (live!['spec'] as { template: { spec: { containers: { env: unknown }[] } } }).template;
    expect(spec.containers[0]?.env).toEqual([{ name: 'A', value: '1' }]);
  });

  it('says nothing about changes of status, of other fields, and of its own', async () => {
    await start('correct', deployment(namespace, 'web'), configMap(namespace, 'a'));
    await kubectl('annotate', 'configmap', 'a', 'note=1');
    await engine.apply('one', [deployment(namespace, 'web', 'example.org/app:2'), configMap(namespace, 'a', { x: '2' })]);
    await kubectl('annotate', 'configmap', 'a', 'marker=1');
    await kubectl('patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"x":"9"}}');
    await engine.drift(({ id }) => id.name === 'a');
    expect(engine.recorder.drifts).toHaveLength(1);
  });

  it('hides the data of Secrets', async () => {
    await start('correct', {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's', namespace },
      stringData: { password: 'right' },
    });
    await kubectl('patch', 'secret', 's', '--type=merge', '-p', '{"data":{"password":"d3Jvbmc="}}');
    const drift = await engine.drift(() => true);
    expect(drift.fields).toEqual([{ path: '.data.password', desired: '(hidden)', live: '(hidden)' }]);
    const live = await api.get(`/api/v1/namespaces/${namespace}/secrets/s`);
    expect(live?.['data']).toEqual({ password: Buffer.from('right').toString('base64') });
  });

  it('does not make an object again that left Git while its correction was put off', async () => {
    const units = ['one', 'two'].map((name) => unit(name, { defaultNamespace: namespace }));
    engine.configure(...units);
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'stays')]);
    await engine.apply('two', [configMap(namespace, 'later')]);
    const isBack = async (name: string): Promise<unknown> =>
      await api.until(configMaps(name), (found) => found !== undefined, name);
    for (const name of ['a', 'later']) {
      await kubectl('delete', 'configmap', name);
      await isBack(name);
    }
    // From the second time on corrections are put off.
    await kubectl('delete', 'configmap', 'a');
    await engine.apply('one', [configMap(namespace, 'stays')]);
    await kubectl('delete', 'configmap', 'later');
    await isBack('later');
    expect(await api.get(configMaps('a'))).toBeUndefined();
  });

  it('is soon there again with many objects when their namespace was deleted and made again', async () => {
    const inner = await cluster.namespace();
    await start('correct', ...Array.from({ length: 40 }, (_, n) => configMap(inner, `m${n}`)));
    await cluster.kubectl(['delete', 'namespace', inner]);
    await cluster.kubectl(['create', 'namespace', inner]);
    const path = `/api/v1/namespaces/${inner}/configmaps`;
    const back = async (): Promise<boolean> => (await api.list(path)).length > 40;
    expect(await waitUntil(back, { what: 'all objects', timeoutMs: 10_000, intervalMs: 20 })).toBe(true);
  });

  it('slows down when somebody undoes each correction', async () => {
    await start('correct', configMap(namespace, 'a'));
    for (const round of [1, 2]) {
      await kubectl('patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"x":"2"}}');
      await waitUntil(() => engine.recorder.drifts.length === round, { what: `correction ${round}`, intervalMs: 2 });
    }
    const [first, second] = engine.recorder.drifts.map(
      ({ detectedAt, resolvedAt }) => (resolvedAt?.getTime() ?? 0) - detectedAt.getTime(),
    );
    expect(first).toBeLessThan(500);
    expect(second).toBeGreaterThanOrEqual(990);
    expect(engine.recorder.drifts.map(({ message }) => message)).toEqual([
      '',
      expect.stringMatching(/^kubectl-patch undoes each correction: put off by 1 s; stop it, or ignore the field/),
    ]);
  });
});

describe('A CustomResourceDefinition of the unit that drops a property', () => {
  const group = `drop${freshAgentId()}.example`;
  afterAll(async () => await cluster.kubectl(['delete', 'crd', `widgets.${group}`, '--ignore-not-found', '--wait=false']));

  it('has its resources looked at again: what vanished without an event is told', async () => {
    const definition = (): Manifest => crd(group, 'Widget');
    const widget: Manifest = { apiVersion: `${group}/v1`, kind: 'Widget', metadata: { name: 'w', namespace }, spec: { size: 1 } };
    await start('correct', definition(), widget);
    const smaller = definition();
    const { versions } = smaller['spec'] as {
      versions: { schema: { openAPIV3Schema: { properties: { spec: { properties: object } } } } }[];
    };
    versions[0]!.schema.openAPIV3Schema.properties.spec.properties = { other: { type: 'string' } };
    engine.submit('one', [smaller, widget]);
    const failed = await waitUntil(
      () => engine.recorder.last('one')?.objects.find(({ id, action }) => id.kind === 'Widget' && action === 'failed'),
      { what: 'the Widget to fail', timeoutMs: 30_000, intervalMs: 5 },
    );
    expect(failed).toMatchObject({ reason: 'Invalid', message: expect.stringContaining('field not declared in schema') });
  });
});

describe('Under the policy "report"', () => {
  it('tells each state once and changes nothing', async () => {
    await start('report', configMap(namespace, 'a'));
    await kubectl('patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"x":"2"}}');
    await engine.drift(({ fields }) => fields[0]?.live === '"2"');
    await kubectl('annotate', 'configmap', 'a', 'note=1');
    await kubectl('patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"x":"3"}}');
    await engine.drift(({ fields }) => fields[0]?.live === '"3"');
    expect(engine.recorder.drifts.map(({ outcome }) => outcome)).toEqual(['reported', 'reported']);
    expect((await api.get(configMaps('a')))?.['data']).toEqual({ x: '3' });
  });

  it('tells of a deletion and does not undo it', async () => {
    await start('report', configMap(namespace, 'a'));
    await kubectl('delete', 'configmap', 'a');
    expect(await engine.drift(() => true)).toMatchObject({ deleted: true, outcome: 'reported' });
    expect(await api.get(configMaps('a'))).toBeUndefined();
  });
});

describe('Under the policy "off"', () => {
  it('looks away until the next commit', async () => {
    await start('off', configMap(namespace, 'a'), configMap(namespace, 'b'));
    await kubectl('patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"x":"2"}}');
    await kubectl('delete', 'configmap', 'b');
    await waitUntil(() => engine.recorder.last('one')?.objects.some(({ health }) => health === 'not_found'), {
      what: 'the loss',
    });
    expect(engine.recorder.drifts).toEqual([]);
    expect((await api.get(configMaps('a')))?.['data']).toEqual({ x: '2' });

    await engine.apply('one', [configMap(namespace, 'a', { x: '4' }), configMap(namespace, 'b')]);

    expect((await api.get(configMaps('a')))?.['data']).toEqual({ x: '4' });
    expect(await api.get(configMaps('b'))).toBeDefined();
  });

  it('puts right what was seen meanwhile once the policy says so', async () => {
    await start('off', configMap(namespace, 'a'), configMap(namespace, 'b'));
    await kubectl('patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"x":"2"}}');
    // Told in order: when this one is known, so is the one before.
    await kubectl('delete', 'configmap', 'b');
    await waitUntil(() => engine.recorder.last('one')?.objects.some(({ health }) => health === 'not_found'), {
      what: 'the loss',
    });
    engine.configure(unit('one', { defaultNamespace: namespace, driftPolicy: 'correct' }));
    const isBack = async (name: string): Promise<boolean> =>
      JSON.stringify((await api.get(configMaps(name)))?.['data']) === '{"x":"1"}';
    await waitUntil(async () => (await isBack('a')) && (await isBack('b')), { what: 'both to be as in Git' });
    expect(engine.recorder.drifts).toEqual([]);
  });
});
