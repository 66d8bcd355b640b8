import { Writable } from 'node:stream';
import { createLogger, type Logger } from '../../../lib/log.ts';
import type { ApiReader, Seen } from '../../../test/harness/api-reader.ts';
import { useCluster } from '../../../test/harness/cluster.ts';
import { waitUntil } from '../../../test/harness/wait-until.ts';
import { configMap, freshAgentId, type Manifest, reader, TestEngine, unit } from '../engine-fixture.ts';
import { parentName } from '../inventory/inventory.ts';
import type { Unit } from '../unit.ts';

const cluster = useCluster();
let namespace: string;
let agentId: number;
let api: ApiReader;
let engine: TestEngine;

beforeEach(async () => {
  namespace = await cluster.namespace();
  agentId = freshAgentId();
  api = reader(cluster);
  engine = start();
});

afterEach(async () => {
  await engine[Symbol.asyncDispose]();
  api[Symbol.dispose]();
});

function start(log?: Logger): TestEngine {
  const options = log === undefined ? {} : { log };
  return new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace, handOverMs: 60_000, ...options });
}

async function restart(): Promise<void> {
  await engine[Symbol.asyncDispose]();
  engine = start();
}

const path = (name: string): string => `/api/v1/namespaces/${namespace}/configmaps/${name}`;
const get = async (name: string): Promise<Seen | undefined> => await api.get(path(name));
const one = (options: Partial<Unit> = {}): Unit =>
  unit('one', { defaultNamespace: namespace, removalPolicy: 'prune', ...options });
const other = (): Unit => unit('other', { defaultNamespace: namespace });
const parent = (name = 'one'): string => path(parentName(agentId, name));
const many = (count: number): Manifest[] => Array.from({ length: count }, (_, n) => configMap(namespace, `m${n}`));

async function gone(...paths: readonly string[]): Promise<void> {
  for (const each of paths) await api.until(each, (found) => found === undefined, `${each} to be gone`);
}

/** Something that happens after what must not happen would have: the other unit's sync and a whole look at the parents. */
async function settle(name = 'settled'): Promise<void> {
  await engine.apply('other', [configMap(namespace, 'kept'), configMap(namespace, name)]);
}

async function kubectl(...args: readonly string[]): Promise<string> {
  return await cluster.kubectl(['-n', namespace, ...args]);
}

describe('A unit that leaves the configuration', () => {
  it('takes its objects along with the policy "prune", then its ApplySet parent', async () => {
    engine.configure(one(), other());
    await engine.apply('other', [configMap(namespace, 'kept')]);
    await engine.apply('one', many(3));
    await cluster.kubectl(['-n', namespace, 'create', 'configmap', 'foreign']);
    engine.configure(other());
    await gone(...[0, 1, 2].map((n) => path(`m${n}`)), parent());
    expect(await get('kept')).toBeDefined();
    expect(await get('foreign')).toBeDefined();
    expect(engine.recorder.forgotten).toEqual(['one']);
  });

  it('does so also when the agent was away', async () => {
    engine.configure(one(), other());
    await engine.apply('one', many(3));
    await restart();
    engine.configure(other());
    // Not before the other unit has said what it wants.
    expect(await get('m0')).toBeDefined();
    await engine.apply('other', [configMap(namespace, 'kept'), configMap(namespace, 'm0')]);
    await gone(path('m1'), path('m2'), parent());
    expect((await get('m0'))?.metadata.labels).toEqual((await get('kept'))?.metadata.labels);
  });

  it('hands on what the same commit moves to another unit of its repository', async () => {
    const project = 'group/shop';
    engine.configure(one({ project }), { ...other(), project, ref: '' });
    await engine.apply('other', [configMap(namespace, 'kept')]);
    await engine.apply('one', many(2));
    const before = await get('m0');
    engine.configure({ ...other(), project, ref: '' });
    await engine.apply('other', [configMap(namespace, 'kept'), configMap(namespace, 'm0')]);
    await gone(path('m1'), parent());
    expect((await get('m0'))?.metadata.uid).toBe(before?.metadata.uid);
  });

  it('waits no longer than others of its repository are given for their next commit', async () => {
    await engine[Symbol.asyncDispose]();
    engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace, handOverMs: 500 });
    const project = 'group/shop';
    engine.configure(one({ project }), { ...other(), project });
    await engine.apply('other', [configMap(namespace, 'kept')]);
    await engine.apply('one', many(2));
    engine.configure({ ...other(), project });
    await gone(path('m0'), path('m1'), parent());
    expect(await get('kept')).toBeDefined();
  });

  it('takes along also what its last sync had on its way', async () => {
    const large = one({ pruneBudget: { objects: 1000, percent: 100 } });
    engine.configure(large, other());
    await engine.apply('other', [configMap(namespace, 'kept')]);
    await engine.apply('one', many(1));
    engine.submit('one', many(300));
    await api.until(path('m40'), (found) => found !== undefined, 'the sync to be in its middle');
    engine.configure(other());
    await gone(parent());
    const live = await api.list(`/api/v1/namespaces/${namespace}/configmaps`);
    expect(live.filter(({ metadata }) => /^m\d+$/.test(metadata.name))).toEqual([]);
  });

  it('goes on after a restart in the middle', async () => {
    engine.configure(one(), other());
    await engine.apply('other', [configMap(namespace, 'kept')]);
    await engine.apply('one', many(3));
    await kubectl('patch', 'configmap', 'm0', '--type=merge', '-p', '{"metadata":{"finalizers":["example.org/hold"]}}');
    engine.configure(other());
    await gone(path('m1'), path('m2'));
    await restart();
    engine.configure(other());
    await engine.apply('other', [configMap(namespace, 'kept')]);
    expect(await api.get(parent())).toBeDefined();
    await kubectl('patch', 'configmap', 'm0', '--type=merge', '-p', '{"metadata":{"finalizers":null}}');
    await gone(path('m0'), parent());
  });

  it('leaves its objects with the policy "orphan", and has them back under the same name', async () => {
    engine.configure(one({ removalPolicy: 'orphan' }), other());
    await engine.apply('one', many(2));
    const before = await get('m0');
    engine.configure(other());
    await settle();
    await restart();
    engine.configure(other());
    await settle('again');
    expect((await get('m0'))?.metadata).toEqual(before?.metadata);
    engine.configure(one({ removalPolicy: 'orphan' }), other());
    const back = await engine.apply('one', many(2));
    expect(back.objects.map(({ action }) => action)).toEqual(['unchanged', 'unchanged']);
    expect((await get('m0'))?.metadata).toEqual(before?.metadata);
  });

  it('leaves its objects when it was suspended while its policy became "orphan", and says so on the parent', async () => {
    engine.configure(one(), other());
    await engine.apply('other', [configMap(namespace, 'kept')]);
    await engine.apply('one', many(1));
    engine.configure(one({ suspended: true, removalPolicy: 'orphan' }), other());
    engine.configure(other());
    const policy = 'kas.gitops/removal-policy';
    await api.until(parent(), (found) => found?.metadata.annotations?.[policy] !== 'prune', 'the parent to be changed');
    expect((await api.get(parent()))?.metadata.annotations?.[policy]).toBe('orphan');
    expect(await get('m0')).toBeDefined();
  });

  it('under another name hands its objects over, whatever its policy', async () => {
    engine.configure(one());
    await engine.apply('one', many(3));
    const before = await get('m1');
    engine.configure(unit('renamed', { defaultNamespace: namespace, removalPolicy: 'prune' }));
    await engine.apply('renamed', many(2));
    await gone(path('m2'), parent());
    expect((await get('m1'))?.metadata.uid).toBe(before?.metadata.uid);
  });

  it('under another name hands its objects over, also when the agent is restarted before it knows the new ones', async () => {
    engine.configure(one());
    await engine.apply('one', many(2));
    const before = await get('m1');
    const renamed = unit('renamed', { defaultNamespace: namespace, removalPolicy: 'prune' });
    engine.configure(renamed);
    await restart();
    engine.configure(renamed);
    await engine.apply('renamed', many(2));
    await gone(parent());
    expect((await get('m1'))?.metadata.uid).toBe(before?.metadata.uid);
  });

  it('and comes back while its objects are deleted is whole again', async () => {
    engine.configure(one(), other());
    await engine.apply('other', [configMap(namespace, 'kept')]);
    await engine.apply('one', many(20));
    engine.configure(other());
    engine.configure(one(), other());
    await engine.apply('one', many(20));
    await settle();
    const live = await api.list(`/api/v1/namespaces/${namespace}/configmaps`);
    expect(live.filter(({ metadata }) => /^m\d+$/.test(metadata.name))).toHaveLength(20);
    expect(await api.get(parent())).toBeDefined();
  });

  it('needs a confirmation over its budget, by the commit that the parent names', async () => {
    const small = one({ pruneBudget: { objects: 3, percent: 30 } });
    engine.configure(small, other());
    await engine.apply('other', [configMap(namespace, 'kept')]);
    await engine.apply('one', many(5));
    engine.configure(other());
    const removedAt = async (): Promise<string | undefined> =>
      (await api.get(parent()))?.metadata.annotations?.['kas.gitops/removed-at'];
    await waitUntil(async () => (await removedAt()) !== undefined, { what: 'the parent to say since when', timeoutMs: 30_000 });
    await settle();
    expect(await get('m0')).toBeDefined();
    await restart();
    engine.engine.configure({ commitId: 'd'.repeat(40), units: [other()], healthRules: [] });
    await settle('again');
    expect(await removedAt()).toBe('c0ffee00');
    await kubectl('annotate', 'configmap', parentName(agentId, 'one'), `kas.gitops/confirm-prune=${'d'.repeat(40)}`);
    await settle('more');
    expect(await get('m0')).toBeDefined();
    await kubectl('annotate', '--overwrite', 'configmap', parentName(agentId, 'one'), 'kas.gitops/confirm-prune=c0ffee00');
    await gone(...[0, 1, 2, 3, 4].map((n) => path(`m${n}`)), parent());
  });

  it('is kept, however small it is, when the configuration lost all its units, until somebody confirms', async () => {
    engine.configure(one());
    await engine.apply('one', many(1));
    engine.configure();
    await api.until(parent(), (found) => found?.metadata.annotations?.['kas.gitops/removed-at'], 'the parent to wait');
    engine.configure(other());
    await settle();
    await settle('again');
    expect(await get('m0')).toBeDefined();
    // Asking ends when the unit is back.
    engine.configure(one(), other());
    await engine.apply('one', many(1));
    expect((await api.get(parent()))?.metadata.annotations).not.toHaveProperty(['kas.gitops/removed-at']);
    engine.configure(other());
    await gone(path('m0'), parent());
  });

  it('is kept when more units left than are there', async () => {
    const three = ['one', 'two', 'three'].map((name) => unit(name, { defaultNamespace: namespace, removalPolicy: 'prune' }));
    engine.configure(...three, other());
    for (const { name } of three) await engine.apply(name, [configMap(namespace, `of-${name}`)]);
    await engine.apply('other', [configMap(namespace, 'kept')]);
    engine.configure(other());
    for (const { name } of three) {
      await api.until(parent(name), (found) => found?.metadata.annotations?.['kas.gitops/removed-at'], `${name} to wait`);
    }
    await kubectl('annotate', 'configmap', parentName(agentId, 'one'), 'kas.gitops/confirm-prune=c0ffee00');
    await gone(path('of-one'), parent());
    await settle();
    expect(await get('of-two')).toBeDefined();
    expect(await get('of-three')).toBeDefined();
  });

  it('is torn down with the rights of its service account, also by an agent that never saw the unit', async () => {
    await kubectl('create', 'serviceaccount', 'team');
    await kubectl('create', 'rolebinding', 'team', '--clusterrole=edit', `--serviceaccount=${namespace}:team`);
    engine.configure(one({ serviceAccount: { namespace, name: 'team' } }), other());
    await engine.apply('one', many(1));
    await engine[Symbol.asyncDispose]();
    await kubectl('delete', 'rolebinding', 'team');
    const logged: string[] = [];
    const write = (chunk: unknown, _encoding: string, done: () => void): void => {
      logged.push(String(chunk));
      done();
    };
    engine = start(createLogger('test', 'warn', new Writable({ write })));
    engine.configure(other());
    await engine.apply('other', [configMap(namespace, 'kept')]);
    const refused = (): boolean => logged.join('').includes(`system:serviceaccount:${namespace}:team`);
    await waitUntil(refused, { what: 'the deletion to be refused', timeoutMs: 30_000 });
    expect(await get('m0')).toBeDefined();
    await kubectl('create', 'rolebinding', 'team', '--clusterrole=edit', `--serviceaccount=${namespace}:team`);
    await restart();
    engine.configure(other());
    await engine.apply('other', [configMap(namespace, 'kept')]);
    await gone(path('m0'), parent());
  });

  it('is left alone by the agent of another kas that has the same number', async () => {
    engine.configure(one(), other());
    await engine.apply('one', many(1));
    await engine[Symbol.asyncDispose]();
    const rules = (await api.get(parent()))?.metadata.annotations?.['kas.gitops/removal-rules'] ?? '';
    const elsewhere = rules.replace(`agent-${agentId}`, 'elsewhere');
    expect(elsewhere).not.toBe(rules);
    await kubectl('annotate', '--overwrite', 'configmap', parentName(agentId, 'one'), `kas.gitops/removal-rules=${elsewhere}`);
    engine = start();
    engine.configure(other());
    await settle();
    await settle('again');
    expect(await get('m0')).toBeDefined();
  });
});
