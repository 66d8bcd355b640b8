import { setImmediate } from 'node:timers/promises';
import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { actions, configMap, freshAgentId, reader, TestEngine, unit } from './engine-fixture.ts';
import type { SyncState } from './unit.ts';

const cluster = useCluster();
let namespace: string;
let api: ApiReader;

beforeEach(async () => {
  namespace = await cluster.namespace();
  api = reader(cluster);
});

afterEach(() => api[Symbol.dispose]());

function start(agentId = freshAgentId(), ...names: readonly string[]): TestEngine {
  const engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace });
  engine.configure(...(names.length === 0 ? ['one'] : names).map((name) => unit(name, { defaultNamespace: namespace })));
  return engine;
}

const path = (name: string): string => `/api/v1/namespaces/${namespace}/configmaps/${name}`;

describe('Two claims on one object', () => {
  it('are settled between agents by who was first: the second names the first and leaves the object alone', async () => {
    const firstId = freshAgentId();
    await using first = start(firstId);
    await using second = start();
    await first.apply('one', [configMap(namespace, 'a')]);
    const before = await api.get(path('a'));
    const state = await second.apply('one', [configMap(namespace, 'a', { x: '2' }), configMap(namespace, 'b')], 'failed');
    expect(actions(state)).toEqual(['ConfigMap a failed OwnedByOther', 'ConfigMap b created']);
    expect(state.objects[0]?.message).toContain(`agent ${firstId}`);
    expect(await api.get(path('a'))).toEqual(before);
  });

  it('are settled between units of one agent in the same way', async () => {
    await using engine = start(freshAgentId(), 'one', 'two');
    await engine.apply('one', [configMap(namespace, 'a')]);
    const state = await engine.apply('two', [configMap(namespace, 'a', { x: '2' })], 'failed');
    expect(actions(state)).toEqual(['ConfigMap a failed OwnedByOther']);
    expect(state.objects[0]?.message).toContain('unit one');
    expect((await api.get(path('a')))?.['data']).toEqual({ x: '1' });
  });

  it('are refused to an ApplySet of another tool', async () => {
    await cluster.kubectl(['create', 'configmap', 'a', '-n', namespace]);
    await cluster.kubectl(['label', 'configmap', 'a', '-n', namespace, 'applyset.kubernetes.io/part-of=applyset-other-v1']);
    await using engine = start();
    const state = await engine.apply('one', [configMap(namespace, 'a')], 'failed');
    expect(state.objects[0]).toMatchObject({ reason: 'OwnedByOther' });
    expect(state.objects[0]?.message).toContain('applyset-other-v1');
  });
});

describe('An object of the unit that lost the label of the agent while this was away', () => {
  it('is still its own', async () => {
    const agentId = freshAgentId();
    {
      await using before = start(agentId);
      await before.apply('one', [configMap(namespace, 'a')]);
    }
    await cluster.kubectl(['label', 'configmap', 'a', '-n', namespace, 'kas.gitops/agent-']);
    await using engine = start(agentId);
    expect(actions(await engine.apply('one', [configMap(namespace, 'a')]))).toEqual(['ConfigMap a unchanged']);
    expect(await engine.drift(() => true)).toMatchObject({ outcome: 'corrected', deleted: false });
    expect((await api.get(path('a')))?.metadata.labels?.['kas.gitops/agent']).toBe(String(agentId));
  });
});

describe('An object that nobody owns', () => {
  it('is adopted where it stands', async () => {
    await cluster.kubectl(['create', 'configmap', 'a', '-n', namespace, '--from-literal=x=0', '--from-literal=y=0']);
    const before = await api.get(path('a'));
    await using engine = start();
    const state = await engine.apply('one', [configMap(namespace, 'a')]);
    expect(actions(state)).toEqual(['ConfigMap a configured']);
    const after = await api.get(path('a'));
    expect(after?.metadata.uid).toBe(before?.metadata.uid);
    expect(after?.['data']).toEqual({ x: '1', y: '0' });
  });
});

describe('An object that is served in two API groups', () => {
  it('is not deleted when Git names it in the other one', async () => {
    await using engine = start();
    const regarding = { apiVersion: 'v1', kind: 'ConfigMap', namespace, name: 'a' };
    const shared = {
      kind: 'Event',
      metadata: { name: 'e', namespace },
      reason: 'Tested',
      action: 'Test',
      type: 'Normal',
      eventTime: new Date().toISOString().replace('Z', '000Z'),
      reportingInstance: 'test-1',
    };
    const core = { ...shared, apiVersion: 'v1', involvedObject: regarding, reportingComponent: 'example.org/test' };
    const events = { ...shared, apiVersion: 'events.k8s.io/v1', regarding, reportingController: 'example.org/test' };
    await engine.apply('one', [configMap(namespace, 'a'), core]);
    const at = `/api/v1/namespaces/${namespace}/events/e`;
    const before = await api.get(at);
    await engine.apply('one', [configMap(namespace, 'a'), events]);
    expect((await api.get(at))?.metadata.uid).toBe(before?.metadata.uid);
    expect(engine.recorder.drifts).toEqual([]);
  });
});

describe('A unit', () => {
  it('hands an object over to another unit of the agent without deleting it', async () => {
    await using engine = start(freshAgentId(), 'one', 'two');
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    const before = await api.get(path('b'));
    const waiting = engine.submit('two', [configMap(namespace, 'b')]);
    await engine.until(waiting, ['failed']);
    await engine.apply('one', [configMap(namespace, 'a')]);
    await engine.until(waiting);
    expect((await api.get(path('b')))?.metadata.uid).toBe(before?.metadata.uid);
  });

  it('hands an object over at once, also when a change of its configuration interrupted it', async () => {
    await using engine = start(freshAgentId(), 'one', 'two');
    await engine.apply('one', [configMap(namespace, 'a'), configMap(namespace, 'b')]);
    const taken = engine.submit('two', [configMap(namespace, 'b')]);
    await engine.until(taken, ['failed']);
    const given = engine.submit('one', [configMap(namespace, 'a'), configMap(namespace, 'c')]);
    // Its first request is on its way.
    await setImmediate();
    engine.configure(
      unit('one', { defaultNamespace: namespace, pruneTimeoutMs: 31_000 }),
      unit('two', { defaultNamespace: namespace }),
    );
    await engine.until(given);
    // Sooner than it would look again by itself.
    const two = (): SyncState | undefined => {
      const last = engine.recorder.last('two');
      return last?.phase === 'synced' ? last : undefined;
    };
    const synced = await waitUntil(two, { what: 'two to have it', timeoutMs: 15_000 });
    expect(actions(synced)).toEqual(['ConfigMap b configured']);
  });

  it('that was renamed takes its objects along', async () => {
    const agentId = freshAgentId();
    {
      await using engine = start(agentId, 'old');
      await engine.apply('old', [configMap(namespace, 'a')]);
    }
    const before = await api.get(path('a'));
    await using engine = start(agentId, 'new');
    const state = await engine.apply('new', [configMap(namespace, 'a')]);
    expect(actions(state)).toEqual(['ConfigMap a configured']);
    expect((await api.get(path('a')))?.metadata.uid).toBe(before?.metadata.uid);
  });

  it('that left the configuration leaves its objects', async () => {
    await using engine = start(freshAgentId(), 'one', 'two');
    await engine.apply('two', [configMap(namespace, 'a')]);
    engine.configure(unit('one', { defaultNamespace: namespace }));
    expect(engine.recorder.forgotten).toEqual(['two']);
    expect(engine.engine.held()).toEqual([]);
    expect(await api.get(path('a'))).toBeDefined();
  });
});
