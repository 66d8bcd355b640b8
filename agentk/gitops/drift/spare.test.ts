import type { FieldsV1, LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';
import type { Ignored } from './ignored.ts';
import { isIgnored } from './ignored-places.ts';
import { sparing } from './spare.ts';

const manager = 'agentk-1';

function entry(by: string, operation: 'Apply' | 'Update', fieldsV1: FieldsV1, subresource = ''): ManagedFieldsEntry {
  return { manager: by, operation, apiVersion: 'v1', fieldsV1, subresource };
}

function live(fields: object, ...managedFields: readonly ManagedFieldsEntry[]): LiveObject {
  const metadata = { name: 'o', namespace: 'n', uid: 'u', resourceVersion: '1', managedFields };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata, ...fields };
}

function body(fields: object): string {
  const labels = { 'applyset.kubernetes.io/part-of': 'a', mine: 'yes' };
  const metadata = { name: 'o', namespace: 'n', labels, annotations: { 'kas.gitops/digest': 'd' } };
  return JSON.stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata, ...fields });
}

const pointer = (text: string, ...managers: readonly string[]): Ignored => [{ pointers: [text.split('/').slice(1)], managers }];
const specOf = (text: string): unknown => (JSON.parse(text) as { spec: unknown }).spec;
const replicas = { 'f:spec': { 'f:replicas': {} } };

describe('sparing', () => {
  it('leaves out what another manager holds', () => {
    const scaled = live({ spec: { replicas: 5 } }, entry('hpa', 'Update', replicas, 'scale'));
    expect(specOf(sparing(body({ spec: { replicas: 2, paused: true } }), pointer('/spec/replicas'), scaled, manager))).toEqual({
      paused: true,
    });
  });

  it('takes the live value where nobody else holds it, also when Git has it no more', () => {
    const ours = live({ spec: { replicas: 5 } }, entry(manager, 'Apply', replicas));
    expect(specOf(sparing(body({ spec: { replicas: 2 } }), pointer('/spec/replicas'), ours, manager))).toEqual({ replicas: 5 });
    expect(specOf(sparing(body({ spec: { paused: true } }), pointer('/spec/replicas'), ours, manager))).toEqual({
      paused: true,
      replicas: 5,
    });
  });

  it('keeps what only we hold of a map that others hold in part', () => {
    const data = (...names: readonly string[]): FieldsV1 => ({
      'f:spec': { 'f:map': Object.fromEntries(names.map((name) => [`f:${name}`, {}])) },
    });
    const map = { a: 'edited', b: 'theirs', c: 'added', gone: 'kept' };
    const shared = live({ spec: { map } }, entry(manager, 'Apply', data('a', 'b', 'gone')), entry('x', 'Update', data('b', 'c')));
    const spared = (spec: object): unknown => specOf(sparing(body({ spec }), pointer('/spec/map'), shared, manager));
    expect(spared({ map: { a: '1', b: '2', new: '3' } })).toEqual({ map: { a: 'edited', gone: 'kept' } });
    expect(spared({})).toEqual({ map: { a: 'edited', gone: 'kept' } });
  });

  it('does not put back what somebody removed', () => {
    const removed = live({ spec: {} }, entry(manager, 'Apply', { 'f:spec': {} }));
    expect(specOf(sparing(body({ spec: { replicas: 2 } }), pointer('/spec/replicas'), removed, manager))).toEqual({});
  });

  it("applies Git's value where none of the rule's managers holds the field", () => {
    const edited = live({ spec: { replicas: 5 } }, entry('kubectl-edit', 'Update', replicas));
    const applied = sparing(body({ spec: { replicas: 2 } }), pointer('/spec/replicas', 'hpa'), edited, manager);
    expect(specOf(applied)).toEqual({ replicas: 2 });
  });

  const containers = (...images: readonly (readonly [string, string])[]): object => ({
    spec: { containers: images.map(([name, image]) => ({ name, image })) },
  });
  const app = 'k:{"name":"app"}';
  const image: FieldsV1 = { 'f:spec': { 'f:containers': { [app]: { '.': {}, 'f:name': {}, 'f:image': {} } } } };

  it('finds list items by their merge keys, wherever they are in the live list', () => {
    const injected = live(containers(['sidecar', 's:1'], ['app', 'app:2']), entry('updater', 'Update', image));
    const applied = sparing(body(containers(['app', 'app:1'])), pointer('/spec/containers/0/image'), injected, manager);
    expect(specOf(applied)).toEqual({ containers: [{ name: 'app' }] });
  });

  it('leaves out every field that the managers of a rule without pointers hold', () => {
    const updated = live(containers(['app', 'app:2']), entry('updater', 'Update', image));
    const ignored: Ignored = [{ pointers: [], managers: ['updater'] }];
    expect(specOf(sparing(body(containers(['app', 'app:1'])), ignored, updated, manager))).toEqual({
      containers: [{ name: 'app' }],
    });
  });

  it('takes the live value within a list that is owned as a whole', () => {
    const atomic = { 'f:spec': { 'f:rules': {} } };
    const rules = (host: string): object => ({ spec: { rules: [{ host, path: '/' }] } });
    const applied = sparing(
      body(rules('a')),
      pointer('/spec/rules/0/host'),
      live(rules('b'), entry('x', 'Update', atomic)),
      manager,
    );
    expect(specOf(applied)).toEqual({ rules: [{ host: 'b', path: '/' }] });
  });

  it('never gives up name, kind, and what tells whose the object is', () => {
    const held = live({ kind: 'Other' }, entry('x', 'Update', { 'f:metadata': {}, 'f:kind': {}, 'f:apiVersion': {} }));
    const text = body({});
    for (const path of ['/metadata', '/kind', '/apiVersion', '/metadata/labels', '/metadata/annotations/kas.gitops~1digest']) {
      const { kind, apiVersion, metadata } = JSON.parse(sparing(text, pointer(path), held, manager)) as LiveObject;
      expect({ kind, apiVersion, name: metadata.name, annotations: metadata.annotations }).toEqual({
        kind: 'Deployment',
        apiVersion: 'apps/v1',
        name: 'o',
        annotations: { 'kas.gitops/digest': 'd' },
      });
      expect(metadata.labels).toMatchObject({ 'applyset.kubernetes.io/part-of': 'a' });
    }
  });

  it('keeps numbers that a double cannot hold', () => {
    const text = body({ spec: { big: 0 } }).replace('"big":0', '"big":9007199254740993');
    expect(sparing(text, pointer('/spec/replicas'), live({ spec: {} }), manager)).toContain('9007199254740993');
  });
});

describe('isIgnored', () => {
  const wanted = { spec: { replicas: 2, rules: [{ host: 'a', path: '/' }] } };

  it('covers what lies under the pointer, and nothing beside it', () => {
    const object = live({ spec: { replicas: 5 } });
    const at = (...keys: readonly string[]): boolean => isIgnored(pointer('/spec/replicas'), keys, wanted, object, manager);
    expect(at('f:spec', 'f:replicas')).toBe(true);
    expect(at('f:spec', 'f:replicas', 'f:x')).toBe(true);
    expect(at('f:spec', 'f:paused')).toBe(false);
  });

  it('covers a value that is owned as a whole when it differs nowhere else', () => {
    const rule = pointer('/spec/rules/0/host');
    const keys = ['f:spec', 'f:rules'];
    const object = (path: string): LiveObject => live({ spec: { rules: [{ host: 'b', path }] } });
    expect(isIgnored(rule, keys, wanted, object('/'), manager)).toBe(true);
    expect(isIgnored(rule, keys, wanted, object('/x'), manager)).toBe(false);
  });

  it('asks who holds the field where the rule names managers', () => {
    const keys = ['f:spec', 'f:replicas'];
    const object = live({ spec: { replicas: 5 } }, entry('hpa', 'Update', replicas, 'scale'));
    expect(isIgnored(pointer('/spec/replicas', 'hpa'), keys, wanted, object, manager)).toBe(true);
    expect(isIgnored(pointer('/spec/replicas', 'other'), keys, wanted, object, manager)).toBe(false);
    expect(isIgnored([{ pointers: [], managers: ['hpa'] }], keys, wanted, object, manager)).toBe(true);
  });
});
