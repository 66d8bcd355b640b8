import fc from 'fast-check';
import type { FieldsV1, LiveObject, ManagedFieldsEntry } from '../../kube/cluster.ts';
import { LAST_APPLIED } from '../desired/apply-body.ts';
import { type Takeover, takeoverPatch } from './takeover.ts';

const CLIENT_SIDE: Takeover = { managers: [], clientSideApply: true, labels: [], annotations: [] };

function entry(
  manager: string,
  operation: 'Apply' | 'Update',
  fieldsV1: FieldsV1,
  more: Partial<ManagedFieldsEntry> = {},
): ManagedFieldsEntry {
  return { manager, operation, apiVersion: 'v1', fieldsV1, ...more };
}

function live(managedFields: readonly ManagedFieldsEntry[], annotations: Record<string, string> = {}): LiveObject {
  const metadata = { name: 'a', namespace: 'demo', uid: 'u', resourceVersion: '7', annotations, managedFields };
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata };
}

/** Fields by manager after the patch; undefined when there is none. */
function after(object: LiveObject, takeover: Takeover): Record<string, FieldsV1 | undefined> | undefined {
  const patch = takeoverPatch(object, 'agentk-5', takeover);
  if (patch === undefined) return undefined;
  const entries = patch[0]?.value as ManagedFieldsEntry[];
  return Object.fromEntries(entries.map(({ manager, fieldsV1 }) => [manager, fieldsV1]));
}

const data = (...keys: readonly string[]): FieldsV1 => ({ 'f:data': Object.fromEntries(keys.map((key) => [`f:${key}`, {}])) });

describe('takeoverPatch', () => {
  it('takes nothing from anybody who is not named', () => {
    expect(after(live([entry('somebody', 'Update', data('a'))]), CLIENT_SIDE)).toBeUndefined();
  });

  it('takes what the last-applied annotation names from client-side apply, and leaves defaults to nobody', () => {
    const note = { [LAST_APPLIED]: JSON.stringify({ data: { a: '1' } }) };
    const object = live([entry('kubectl-client-side-apply', 'Update', data('a', 'defaulted'))], note);
    expect(after(object, CLIENT_SIDE)).toEqual({
      'agentk-5': { ...data('a'), 'f:metadata': { 'f:annotations': { [`f:${LAST_APPLIED}`]: {} } } },
    });
  });

  it('takes client-side apply whole where no annotation tells', () => {
    expect(after(live([entry('kubectl-client-side-apply', 'Update', data('a', 'b'))]), CLIENT_SIDE)).toEqual({
      'agentk-5': data('a', 'b'),
    });
  });

  it('finds list items by merge keys that the manifest leaves to their default', () => {
    const port = 'k:{"port":80,"protocol":"TCP"}';
    const ports: FieldsV1 = { 'f:spec': { 'f:ports': { [port]: { '.': {}, 'f:port': {}, 'f:protocol': {} } } } };
    const note = { [LAST_APPLIED]: JSON.stringify({ spec: { ports: [{ port: 80 }] } }) };
    const found = after(live([entry('before-first-apply', 'Update', ports)], note), CLIENT_SIDE);
    expect(found?.['agentk-5']).toMatchObject({ 'f:spec': { 'f:ports': { [port]: { '.': {}, 'f:port': {} } } } });
    expect(found?.['before-first-apply']).toMatchObject({ 'f:spec': { 'f:ports': { [port]: { 'f:protocol': {} } } } });
  });

  it('takes the fields of named managers, applied or written, and joins them to ours', () => {
    const object = live([
      entry('agentk-5', 'Apply', data('a')),
      entry('terraform', 'Apply', data('a', 'b')),
      entry('helm-3', 'Update', data('c')),
      entry('other', 'Apply', data('a')),
    ]);
    expect(after(object, { ...CLIENT_SIDE, managers: ['terraform', 'helm*'] })).toEqual({
      other: data('a'),
      'agentk-5': data('a', 'b', 'c'),
    });
  });

  it('leaves finalizers, owners and status to those who put them there', () => {
    const fields: FieldsV1 = {
      'f:metadata': { 'f:finalizers': { '.': {}, 'v:"x"': {} }, 'f:labels': { 'f:a': {} } },
      'f:status': { 'f:x': {} },
    };
    expect(after(live([entry('helm', 'Update', fields)]), { ...CLIENT_SIDE, managers: ['helm'] })).toEqual({
      'agentk-5': { 'f:metadata': { 'f:labels': { 'f:a': {} } } },
      helm: { 'f:metadata': { 'f:finalizers': { '.': {}, 'v:"x"': {} } }, 'f:status': { 'f:x': {} } },
    });
  });

  it('takes marks from whoever set them, in whatever version, and from nobody too', () => {
    const mark = 'config.k8s.io/owning-inventory';
    const fields: FieldsV1 = { 'f:metadata': { 'f:annotations': { [`f:${mark}`]: {} } } };
    const takeover = { ...CLIENT_SIDE, annotations: [mark] };
    const own = { 'agentk-5': fields };
    expect(after(live([entry('x', 'Apply', fields, { apiVersion: 'v1beta1' })], { [mark]: '1' }), takeover)).toEqual(own);
    expect(after(live([], { [mark]: '1' }), takeover)).toEqual(own);
  });

  it('leaves writes to subresources alone', () => {
    const scale = entry('helm', 'Update', data('a'), { subresource: 'scale' });
    expect(after(live([scale]), { ...CLIENT_SIDE, managers: ['helm'] })).toBeUndefined();
  });

  it('is done once it was done', () => {
    const object = live([entry('agentk-5', 'Apply', data('a', 'b'))]);
    expect(after(object, { ...CLIENT_SIDE, managers: ['helm'] })).toBeUndefined();
  });

  it('loses no field that was ours, and takes none that is not gone from the others', () => {
    const key = fc.constantFrom('a', 'b', 'c', 'd');
    const fields = fc.uniqueArray(key, { minLength: 1 });
    const manager = fc.constantFrom('agentk-5', 'helm', 'terraform', 'somebody');
    const operation = fc.constantFrom<'Apply' | 'Update'>('Apply', 'Update');
    const drawn = fc.uniqueArray(fc.record({ manager, operation, fields }), { selector: (one) => one.manager, minLength: 1 });
    const keysOf = (found: FieldsV1 | undefined): readonly string[] => Object.keys(found?.['f:data'] ?? {});
    fc.assert(
      fc.property(drawn, (managers) => {
        const object = live(managers.map((one) => entry(one.manager, one.operation, data(...one.fields))));
        const found = after(object, { ...CLIENT_SIDE, managers: ['helm', 'terra*'] });
        const before = new Map<string, (typeof managers)[number]>(managers.map((one) => [one.manager, one]));
        const named = ['helm', 'terraform'].flatMap((name) => before.get(name)?.fields ?? []);
        expect(found === undefined).toBe(named.length === 0);
        if (found === undefined) return;
        const own = before.get('agentk-5');
        const ours = own?.operation === 'Apply' ? own.fields : [];
        expect([...keysOf(found['agentk-5'])].toSorted()).toEqual(
          [...new Set([...ours, ...named].map((name) => `f:${name}`))].toSorted(),
        );
        expect([found['helm'], found['terraform']]).toEqual([undefined, undefined]);
        expect(keysOf(found['somebody'])).toEqual((before.get('somebody')?.fields ?? []).map((name) => `f:${name}`));
      }),
    );
  });

  it('carries the version that it was made of', () => {
    const object = live([entry('kubectl-client-side-apply', 'Update', data('a'))]);
    expect(takeoverPatch(object, 'agentk-5', CLIENT_SIDE)?.[1]).toEqual({
      op: 'replace',
      path: '/metadata/resourceVersion',
      value: '7',
    });
  });
});
