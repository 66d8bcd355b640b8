import { objectKey } from '../../../lib/object-id.ts';
import { readManifest } from '../desired/manifest.ts';
import { bundleObject, configMap, type Manifest } from '../engine-fixture.ts';
import { orderObjects } from '../plan/order.ts';
import { circlesAcross, nodeOf, type UnitWaits } from './circles-across.ts';

function named(name: string, ...others: readonly string[]): Manifest {
  const annotations = { 'kas.gitops/depends-on': others.map((other) => `/namespaces/n/ConfigMap/${other}`).join() };
  return { ...configMap('n', name), metadata: { name, namespace: 'n', annotations } };
}

function waits(name: string, dependsOn: readonly string[], ...manifests: readonly Manifest[]): UnitWaits {
  const objects = manifests.map((manifest) => {
    const object = bundleObject(manifest);
    return { key: objectKey(object.id), id: object.id, manifest: readManifest(object) };
  });
  return { name, dependsOn, order: orderObjects(objects) };
}

const key = (name: string): string => `|ConfigMap|n|${name}`;

describe('Circles across units', () => {
  it('are named on each of their objects, and on no other', () => {
    const found = circlesAcross([
      waits('one', [], named('a', 'b'), named('free'), named('behind', 'a')),
      waits('two', [], named('b', 'c'), named('c', 'a')),
    ]);
    expect([...found.keys()].toSorted()).toEqual([nodeOf('one', key('a')), nodeOf('two', key('b')), nodeOf('two', key('c'))]);
    const way = ['b of unit two', 'c of unit two', 'a of unit one', 'b of unit two'].map((text) => `ConfigMap n/${text}`);
    expect(found.get(nodeOf('two', key('b')))).toBe(`Waits for itself: ${way.join(' -> ')}; take one of these dependencies out`);
  });

  it('go through units that wait for others as a whole', () => {
    const found = circlesAcross([waits('one', ['two'], named('a')), waits('two', [], named('b', 'a'), named('c'))]);
    expect(found.get(nodeOf('one', key('a')))).toContain(
      'ConfigMap n/a of unit one -> unit two -> ConfigMap n/b of unit two -> ConfigMap n/a of unit one',
    );
    expect(found.has(nodeOf('two', key('c')))).toBe(false);
  });

  it('are none where units only wait one way', () => {
    expect(circlesAcross([waits('one', ['two'], named('a', 'b')), waits('two', [], named('b'))]).size).toBe(0);
    expect(
      circlesAcross([waits('one', [], named('a', 'gone')), { name: 'two', dependsOn: ['one'], order: undefined }]).size,
    ).toBe(0);
  });
});
