import type { FieldsV1, LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';
import { isOlder, judge } from './judge.ts';
import { ownedState } from './owned-state.ts';

const manager = 'agentk-1';
const ours: FieldsV1 = { 'f:data': { 'f:a': {}, 'f:b': {} } };

interface Version {
  readonly resourceVersion?: string;
  readonly uid?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  readonly entries?: readonly ManagedFieldsEntry[];
}

function entry(by: string, operation: 'Apply' | 'Update', fieldsV1: FieldsV1, second = 0): ManagedFieldsEntry {
  return { manager: by, operation, apiVersion: 'v1', time: `2026-01-01T00:00:0${second}Z`, fieldsV1 };
}

function configMap({ resourceVersion = '10', uid = 'u', data = { a: '1', b: '2' }, entries }: Version = {}): LiveObject {
  const managedFields = entries ?? [entry(manager, 'Apply', ours)];
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'c', namespace: 'n', uid, resourceVersion, managedFields },
    data,
  };
}

describe('ownedState', () => {
  it('is undefined without an Apply entry of the manager', () => {
    const entries = [
      entry('other', 'Apply', ours),
      entry(manager, 'Update', ours),
      { ...entry(manager, 'Apply', ours), subresource: 'status' },
    ];
    expect(ownedState(configMap({ entries }), manager)).toBeUndefined();
  });

  it('shares the entry among objects that own the same fields', () => {
    const first = ownedState(configMap({ uid: 'one' }), manager);
    const second = ownedState(configMap({ uid: 'two', data: { a: '3' } }), manager);
    expect(first?.entry).toBe(second?.entry);
  });

  it('does not depend on the order in which fields of a map are written', () => {
    const entries = [entry(manager, 'Apply', { 'f:data': {} })];
    const one = ownedState(configMap({ entries, data: { a: '1', b: '2' } }), manager);
    const two = ownedState(configMap({ entries, data: { b: '2', a: '1' } }), manager);
    expect(one?.valuesDigest).toBe(two?.valuesDigest);
  });
});

describe('judge', () => {
  const before = ownedState(configMap(), manager)!;

  it('moves the state on with an object on which nothing of ours has changed', () => {
    const verdict = judge(before, configMap({ resourceVersion: '11', data: { a: '1', b: '2', c: '3' } }), manager);
    expect(verdict).toMatchObject({ kind: 'none', state: { resourceVersion: '11', valuesDigest: before.valuesDigest } });
  });

  it('passes over an event that is older than the state', () => {
    expect(judge(before, configMap({ resourceVersion: '9', data: { a: 'old' } }), manager)).toEqual({ kind: 'stale' });
  });

  it('compares an object that was created anew, whatever its resourceVersion', () => {
    expect(judge(before, configMap({ uid: 'v', resourceVersion: '9', data: { a: 'x', b: '2' } }), manager).kind).toBe('drifted');
  });

  it('names the manager that owns the changed field, not the one that wrote last', () => {
    const entries = [
      entry(manager, 'Apply', { 'f:data': { 'f:b': {} } }),
      entry('editor', 'Update', { 'f:data': { 'f:a': {} } }, 1),
      entry('controller', 'Update', { 'f:data': { 'f:z': {} } }, 2),
    ];
    expect(judge(before, configMap({ data: { a: '9', b: '2' }, entries }), manager)).toEqual({
      kind: 'drifted',
      paths: [{ keys: ['f:data', 'f:a'], order: false }],
      change: { manager: 'editor', operation: 'Update', subresource: '', at: new Date('2026-01-01T00:00:01Z') },
      released: false,
      appliedByOther: false,
    });
  });

  it('names nobody when a field has gone and only a status writer was there since', () => {
    const entries = [
      entry(manager, 'Apply', { 'f:data': { 'f:b': {} } }),
      { ...entry('controller', 'Update', {}, 3), subresource: 'status' },
    ];
    expect(judge(before, configMap({ data: { b: '2' }, entries }), manager)).toMatchObject({
      kind: 'drifted',
      change: undefined,
    });
  });

  it('tells an apply of somebody else under our name by its time', () => {
    const entries = [entry(manager, 'Apply', ours, 5)];
    expect(judge(before, configMap({ entries }), manager)).toMatchObject({ kind: 'applied_by_other', change: { manager } });
    expect(judge(before, configMap({ entries, data: { a: '9', b: '2' } }), manager)).toMatchObject({
      kind: 'drifted',
      appliedByOther: true,
      change: { manager },
    });
  });

  it('has a released object owned again when its values are right, and corrected when not', () => {
    expect(judge(before, configMap({ entries: [] }), manager)).toEqual({ kind: 'reown', released: true, appliedByOther: false });
    expect(judge(before, configMap({ entries: [], data: { a: '9', b: '2' } }), manager)).toMatchObject({
      kind: 'drifted',
      released: true,
    });
  });
});

describe('isOlder', () => {
  it.each([
    ['9', '10', true],
    ['10', '9', false],
    ['10', '10', false],
    ['99999999999999999998', '99999999999999999999', true],
  ])('of %s and %s: %s', (a, b, older) => {
    expect(isOlder(a, b)).toBe(older);
  });
});
