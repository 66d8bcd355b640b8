import type { IgnoreRule } from '../../lib/unit-policy.ts';
import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { configMap, deployment, freshAgentId, type Manifest, reader, TestEngine, unit } from './engine-fixture.ts';

const cluster = useCluster();
let namespace: string;
let agentId: number;
let api: ApiReader;

beforeEach(async () => {
  namespace = await cluster.namespace();
  agentId = freshAgentId();
  api = reader(cluster);
});

afterEach(() => api[Symbol.dispose]());

function start(...ignoreRules: readonly IgnoreRule[]): TestEngine {
  const engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace });
  engine.configure(unit('one', { defaultNamespace: namespace, ignoreRules }));
  return engine;
}

const any = { group: '*', kind: '*', namespace: '', name: '', labelSelector: '' };
const replicasRule: IgnoreRule = { target: { ...any, kind: 'Deployment' }, jsonPointers: ['/spec/replicas'], managers: [] };

async function scale(replicas: number): Promise<void> {
  await cluster.kubectl(['-n', namespace, 'scale', 'deployment', 'web', `--replicas=${replicas}`]);
}

async function specOf(name: string): Promise<{ readonly replicas: number; readonly image: string }> {
  const live = await api.get(`/apis/apps/v1/namespaces/${namespace}/deployments/${name}`);
  const { replicas, template } = live!['spec'] as {
    replicas: number;
    template: { spec: { containers: { image: string }[] } };
  };
  return { replicas, image: template.spec.containers[0]?.image ?? '' };
}

const web = (image: string, replicas: number | undefined): Manifest => {
  const manifest = deployment(namespace, 'web', image, replicas ?? 1);
  if (replicas === undefined) delete (manifest['spec'] as { replicas?: number }).replicas;
  return manifest;
};

/** Drift of a second object, seen after all that was done before it. */
async function settled(engine: TestEngine, marker: string): Promise<void> {
  await cluster.kubectl(['-n', namespace, 'patch', 'configmap', marker, '--type=merge', '-p', '{"data":{"x":"9"}}']);
  await engine.drift(({ id }) => id.name === marker);
}

describe('A field that a rule ignores', () => {
  it("is made with Git's value, and then left to whom it belongs, whatever else is applied", async () => {
    await using engine = start(replicasRule);
    await engine.apply('one', [web('example.org/app:1', 2), configMap(namespace, 'marker')]);
    expect((await specOf('web')).replicas).toBe(2);
    await scale(3);
    await settled(engine, 'marker');
    expect(engine.recorder.drifts.map(({ id }) => id.name)).toEqual(['marker']);
    expect((await specOf('web')).replicas).toBe(3);
    await engine.apply('one', [web('example.org/app:2', 1)]);
    expect(await specOf('web')).toEqual({ replicas: 3, image: 'example.org/app:2' });
    await scale(2);
    await cluster.kubectl(['-n', namespace, 'set', 'image', 'deployment/web', 'app=example.org/app:9']);
    const drift = await engine.drift(({ id }) => id.name === 'web');
    expect(drift.fields.map(({ path }) => path)).toEqual(['.spec.template.spec.containers[name="app"].image']);
    expect(await specOf('web')).toEqual({ replicas: 2, image: 'example.org/app:2' });
  });

  it("is not reset to the server's default when Git drops it", async () => {
    await using engine = start(replicasRule);
    await engine.apply('one', [web('example.org/app:1', 3)]);
    await engine.apply('one', [web('example.org/app:1', undefined)]);
    expect((await specOf('web')).replicas).toBe(3);
  });

  it('is put back when the rule is taken out', async () => {
    await using engine = start(replicasRule);
    await engine.apply('one', [web('example.org/app:1', 1)]);
    await scale(2);
    await engine.apply('one', [web('example.org/app:2', 1)]);
    expect((await specOf('web')).replicas).toBe(2);
    engine.configure(unit('one', { defaultNamespace: namespace }));
    const path = `/apis/apps/v1/namespaces/${namespace}/deployments/web`;
    await api.until(path, (live) => (live?.['spec'] as { replicas: number } | undefined)?.replicas === 1, 'the replicas of Git');
  });

  it('is ignored for the managers of the rule only, in all that they hold', async () => {
    await using engine = start({ target: { ...any, kind: 'ConfigMap' }, jsonPointers: [], managers: ['updater'] });
    await engine.apply('one', [configMap(namespace, 'a', { x: '1', y: '1' }), configMap(namespace, 'marker')]);
    const patch = async (manager: string, data: object): Promise<string> =>
      await cluster.kubectl([
        '-n',
        namespace,
        'patch',
        'configmap',
        'a',
        '--type=merge',
        `--field-manager=${manager}`,
        '-p',
        JSON.stringify({ data }),
      ]);
    await patch('updater', { x: '2' });
    await patch('hand', { y: '2' });
    const drift = await engine.drift(({ id }) => id.name === 'a');
    expect(drift).toMatchObject({ manager: 'hand', fields: [{ path: '.data.y' }] });
    const live = await api.get(`/api/v1/namespaces/${namespace}/configmaps/a`);
    expect(live?.['data']).toEqual({ x: '2', y: '1' });
  });
});

describe('The replicas of what a HorizontalPodAutoscaler of the unit scales', () => {
  const autoscaler = (): Manifest => ({
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'web', namespace },
    spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' }, minReplicas: 1, maxReplicas: 5 },
  });

  it('are left to it without a rule, over a restart, too', async () => {
    {
      await using engine = start();
      await engine.apply('one', [web('example.org/app:1', 1), autoscaler(), configMap(namespace, 'marker')]);
      await scale(4);
      await settled(engine, 'marker');
      expect(engine.recorder.drifts.map(({ id }) => id.name)).toEqual(['marker']);
    }
    await scale(3);
    await using engine = start();
    await engine.apply('one', [web('example.org/app:2', 1), autoscaler(), configMap(namespace, 'marker')]);
    expect(engine.recorder.drifts).toEqual([]);
    expect(await specOf('web')).toEqual({ replicas: 3, image: 'example.org/app:2' });
  });
});
