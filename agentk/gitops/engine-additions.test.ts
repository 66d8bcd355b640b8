import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { configMap, deployment, type Manifest, type TestEngine, unit, useEngine } from './engine-fixture.ts';
import type { Unit } from './unit.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;
let engine: TestEngine;

useEngine(cluster, (fresh) => ({ namespace, api, engine } = fresh));

async function start(options: Partial<Unit>, ...manifests: readonly Manifest[]): Promise<void> {
  engine.configure(unit('one', { defaultNamespace: namespace, ...options }));
  await engine.apply('one', manifests);
}

async function patch(kind: string, name: string, body: object, manager = 'hand'): Promise<void> {
  const text = JSON.stringify(body);
  await cluster.kubectl(['-n', namespace, 'patch', kind, name, '--type=strategic', `--field-manager=${manager}`, '-p', text]);
}

const denyAll = (): Manifest => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'deny', namespace },
  spec: { podSelector: {}, policyTypes: ['Ingress'] },
});
const command = { spec: { template: { spec: { containers: [{ name: 'app', command: ['sh'] }] } } } };
const deny = (): string => `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies/deny`;

describe('What somebody adds where it weakens what Git describes', () => {
  it('is told once, with field and manager, and left', async () => {
    await start({}, denyAll(), configMap(namespace, 'marker'));
    await patch('networkpolicy', 'deny', { spec: { ingress: [{}] } });
    expect(await engine.drift(() => true)).toMatchObject({
      outcome: 'reported',
      manager: 'hand',
      message: 'Added beside what Git describes',
      fields: [{ path: '.spec.ingress', desired: undefined, live: '[{}]' }],
    });
    await patch('networkpolicy', 'deny', { metadata: { annotations: { note: '1' } } });
    await patch('configmap', 'marker', { data: { x: '9' } });
    await engine.drift(({ id }) => id.name === 'marker');
    expect(engine.recorder.drifts).toHaveLength(2);
    expect((await api.get(deny()))?.['spec']).toMatchObject({ ingress: [{}] });
  });

  it('is taken away where the unit says so', async () => {
    await start({ driftAdditions: 'remove' }, denyAll(), deployment(namespace, 'web'));
    await patch('networkpolicy', 'deny', { spec: { ingress: [{}] } });
    expect(await engine.drift(({ id }) => id.name === 'deny')).toMatchObject({ outcome: 'corrected', manager: 'hand' });
    expect((await api.get(deny()))?.['spec']).not.toHaveProperty('ingress');
    await patch('deployment', 'web', command);
    expect(await engine.drift(({ id }) => id.name === 'web')).toMatchObject({
      outcome: 'corrected',
      fields: [{ path: '.spec.template.spec.containers[name="app"].command', live: '["sh"]' }],
    });
    const live = await api.get(`/apis/apps/v1/namespaces/${namespace}/deployments/web`);
    const { spec } = (live!['spec'] as { template: { spec: { containers: object[] } } }).template;
    expect(spec.containers[0]).not.toHaveProperty('command');
  });

  it('is left where Git only merges into the object, or where nobody is to be overruled', async () => {
    const { metadata, ...policy } = denyAll();
    const merged = { ...policy, metadata: { ...metadata, annotations: { 'kas.gitops/apply': 'merge' } } };
    await start({ driftAdditions: 'remove' }, merged);
    await patch('networkpolicy', 'deny', { spec: { ingress: [{}] } });
    expect(await engine.drift(() => true)).toMatchObject({ outcome: 'reported' });
    await start({ driftAdditions: 'remove', conflictPolicy: 'report' }, deployment(namespace, 'web'));
    await patch('deployment', 'web', command);
    expect(await engine.drift(({ id }) => id.name === 'web')).toMatchObject({ outcome: 'reported' });
  });

  it('is nothing to tell when it comes from a manager that a rule exempts', async () => {
    const any = { group: '*', kind: '*', namespace: '', name: '', labelSelector: '' };
    const ignoreRules = [{ target: any, jsonPointers: [], managers: ['injector'] }];
    await start({ ignoreRules }, deployment(namespace, 'web'), configMap(namespace, 'marker'));
    await patch(
      'deployment',
      'web',
      { spec: { template: { spec: { containers: [{ name: 'sidecar', image: 's' }] } } } },
      'injector',
    );
    await patch('configmap', 'marker', { data: { x: '9' } });
    await engine.drift(({ id }) => id.name === 'marker');
    expect(engine.recorder.drifts).toHaveLength(1);
  });
});
