import type { LiveObject } from '../../kube/cluster.ts';
import { describeFields } from './field-drift.ts';
import type { DriftPath } from './judge.ts';

function at(...keys: readonly string[]): DriftPath {
  return { keys, order: false };
}

function live(fields: Readonly<Record<string, unknown>>): LiveObject {
  const metadata = { name: 'web', namespace: 'demo', uid: 'u', resourceVersion: '1' };
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    ...fields,
    metadata: { ...metadata, ...(fields['metadata'] as object | undefined) },
  };
}

describe('describeFields', () => {
  it.each([
    [['f:spec', 'f:replicas'], '.spec.replicas'],
    [['f:metadata', 'f:labels', 'f:app.kubernetes.io/name'], '.metadata.labels["app.kubernetes.io/name"]'],
    [['f:data', 'f:my-key'], '.data.my-key'],
    [['f:data', 'f:1st'], '.data["1st"]'],
    [['f:spec', 'f:containers', 'k:{"name":"app"}', 'f:image'], '.spec.containers[name="app"].image'],
    [['f:spec', 'f:ports', 'k:{"port":80,"protocol":"TCP"}'], '.spec.ports[port=80,protocol="TCP"]'],
    [['f:metadata', 'f:finalizers', 'v:"example.org/a"'], '.metadata.finalizers["example.org/a"]'],
    [['f:spec', 'f:list', 'i:2'], '.spec.list[2]'],
    [[], '.'],
  ])('writes the path %j as %s', (keys, path) => {
    const everything = {
      data: {},
      spec: { list: [], ports: [], containers: [{ name: 'app' }] },
      metadata: { labels: {}, finalizers: [] },
    };
    expect(describeFields([at(...keys)], {}, live(everything)).map((field) => field.path)).toEqual([path]);
  });

  it('gives both values as JSON, and neither when absent', () => {
    const paths = [at('f:data', 'f:a'), at('f:data', 'f:b'), at('f:data', 'f:c')];
    expect(describeFields(paths, { data: { a: '1', b: '2' } }, live({ data: { a: '9', c: null } }))).toEqual([
      { path: '.data.a', desired: '"1"', live: '"9"' },
      { path: '.data.b', desired: '"2"', live: undefined },
      { path: '.data.c', desired: undefined, live: 'null' },
    ]);
  });

  it('finds the item in a manifest that leaves a merge key to its default', () => {
    const item = 'k:{"port":80,"protocol":"TCP"}';
    const desired = { spec: { ports: [{ port: 80, targetPort: 8080 }] } };
    const object = live({ kind: 'Service', spec: { ports: [{ port: 80, protocol: 'TCP', targetPort: 81 }] } });
    expect(describeFields([at('f:spec', 'f:ports', item, 'f:targetPort')], desired, object)).toEqual([
      { path: '.spec.ports[port=80,protocol="TCP"].targetPort', desired: '8080', live: '81' },
    ]);
  });

  it('tells what is wholly lost once, by its outermost part', () => {
    const item = ['f:spec', 'f:containers', 'k:{"name":"app"}'];
    const paths = [
      at(...item),
      at(...item, 'f:image'),
      at(...item, 'f:name'),
      at('f:spec', 'f:volumes', 'k:{"name":"a"}', 'f:name'),
    ];
    const desired = { spec: { containers: [{ name: 'app', image: 'nginx' }], volumes: [{ name: 'a' }] } };
    expect(describeFields(paths, desired, live({ spec: { containers: [] } }))).toEqual([
      { path: '.spec.containers[name="app"]', desired: '{"name":"app","image":"nginx"}', live: undefined },
      { path: '.spec.volumes', desired: '[{"name":"a"}]', live: undefined },
    ]);
  });

  it('names the items of a list in another order', () => {
    const env = (...names: readonly string[]) => ({ spec: { env: names.map((name) => ({ name, value: name.toLowerCase() })) } });
    expect(describeFields([{ keys: ['f:spec', 'f:env'], order: true }], env('A', 'B'), live(env('B', 'A')))).toEqual([
      { path: '.spec.env', desired: '["A","B"]', live: '["B","A"]' },
    ]);
  });

  it('shortens long values to 256 characters without halving one', () => {
    const [field] = describeFields(
      [at('f:data', 'f:a')],
      { data: { a: 'x'.repeat(300) } },
      live({ data: { a: '😀'.repeat(200) } }),
    );
    expect(field?.desired).toBe(`"${'x'.repeat(254)}…`);
    expect(field?.live).toHaveLength(256);
    expect(field?.live?.isWellFormed()).toBe(true);
  });

  it('lists at most 50 fields and says how many more there are', () => {
    const data = Object.fromEntries(Array.from({ length: 53 }, (_value, index) => [`k${index}`, 'x']));
    const fields = describeFields(
      Object.keys(data).map((key) => at('f:data', `f:${key}`)),
      { data },
      live({ data: { ...data, k0: 'y' } }),
    );
    expect(fields).toHaveLength(51);
    expect(fields.at(-1)).toEqual({ path: '(3 more)', desired: undefined, live: undefined });
  });

  it.each([
    [['f:data', 'f:token']],
    [['f:data']],
    [['f:stringData', 'f:token']],
    [[]],
    [['f:metadata', 'f:annotations']],
    [['f:metadata', 'f:annotations', 'f:kubectl.kubernetes.io/last-applied-configuration']],
  ])('hides the content of a Secret at %j', (keys) => {
    const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': 'password-1' };
    const content = { metadata: { annotations }, data: { token: 'password-1' }, stringData: { token: 'password-1' } };
    const fields = describeFields([at(...keys)], content, live({ kind: 'Secret', ...content }));
    expect(fields).toMatchObject([{ desired: '(hidden)', live: '(hidden)' }]);
  });

  it('says of a Secret that a key is absent, and shows its labels', () => {
    const object = live({ kind: 'Secret', data: {}, metadata: { labels: { tier: 'back' } } });
    const paths = [at('f:data', 'f:token'), at('f:metadata', 'f:labels', 'f:tier')];
    expect(describeFields(paths, { data: { token: 'x' }, metadata: { labels: { tier: 'front' } } }, object)).toEqual([
      { path: '.data.token', desired: '(hidden)', live: undefined },
      { path: '.metadata.labels.tier', desired: '"front"', live: '"back"' },
    ]);
  });
});
