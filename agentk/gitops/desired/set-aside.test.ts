import fc from 'fast-check';
import { bundleObject } from '../engine-fixture.ts';
import type { Desired } from './desired.ts';
import { readManifest } from './manifest.ts';
import { isExcluded, setAside } from './set-aside.ts';

function desired(kind: string, group = '', annotations: Record<string, string> = {}): Desired {
  const apiVersion = group === '' ? 'v1' : `${group}/v1`;
  const object = bundleObject({ apiVersion, kind, metadata: { name: 'a', namespace: 'demo', annotations } });
  return { key: kind, id: object.id, object, manifest: readManifest(object), warning: '' };
}

const NONE = { inclusions: [], exclusions: [] };
const kinds = (objects: readonly { readonly desired: Desired }[]): readonly string[] =>
  objects.map((object) => object.desired.id.kind);

describe('What a unit leaves alone', () => {
  it('is nothing without filters and annotations', () => {
    const objects = [desired('Secret'), desired('Deployment', 'apps')];
    expect(setAside({ desired: objects, failed: [] }, NONE)).toEqual({ desired: objects, failed: [], aside: [] });
  });

  it('is what an exclusion matches and no inclusion does, known to the cluster or not', () => {
    const filters = {
      exclusions: [{ apiGroups: ['', 'x.org'], kinds: ['*'] }],
      inclusions: [{ apiGroups: ['*'], kinds: ['Secret'] }],
    };
    const unknown = { desired: desired('Widget', 'x.org'), reason: 'UnknownKind', message: '' };
    const objects = [desired('Secret'), desired('ConfigMap'), desired('Deployment', 'apps')];
    const found = setAside({ desired: objects, failed: [unknown] }, filters);
    expect(found.desired.map(({ id }) => id.kind)).toEqual(['Secret', 'Deployment']);
    expect(found.failed).toEqual([]);
    expect(kinds(found.aside)).toEqual(['ConfigMap', 'Widget']);
    expect(found.aside.map(({ reason }) => reason)).toEqual(['Excluded', 'Excluded']);
  });

  it('is what its manifest says is to be ignored', () => {
    const found = setAside({ desired: [desired('Secret', '', { 'kas.gitops/apply': 'ignore' })], failed: [] }, NONE);
    expect(found.aside).toMatchObject([{ reason: 'Ignored' }]);
  });

  it('is never what an inclusion matches', () => {
    const name = fc.constantFrom('*', 'a', 'b');
    const filter = fc.record({ apiGroups: fc.array(name, { minLength: 1 }), kinds: fc.array(name, { minLength: 1 }) });
    const filters = fc.record({ inclusions: fc.array(filter), exclusions: fc.array(filter) });
    fc.assert(
      fc.property(filters, (drawn) => {
        const id = { group: 'a', kind: 'b', namespace: '', name: 'x' };
        const inclusions = [...drawn.inclusions, { apiGroups: ['a'], kinds: ['b'] }];
        expect(isExcluded(id, { ...drawn, inclusions })).toBe(false);
      }),
    );
  });
});

describe('What a person should know of a manifest', () => {
  const warning = (metadata: object): string =>
    readManifest(bundleObject({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'a', ...metadata } })).warning;

  it('are finalizers in Git, and annotations that mean nothing', () => {
    expect(warning({ finalizers: ['example.org/hold'] })).toContain('example.org/hold');
    expect(warning({ annotations: { 'kas.gitops/apply': 'sometimes' } })).toContain('sometimes means nothing');
    expect(warning({ annotations: { 'kas.gitops/apply': 'merge' } })).toBe('');
  });
});
