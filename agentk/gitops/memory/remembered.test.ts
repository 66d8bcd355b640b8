import type { LiveObject } from '../../kube/cluster.ts';
import { judge } from '../drift/judge.ts';
import { type OwnedState, ownedState } from '../drift/owned-state.ts';
import { type Owner, type Remembered, RememberedWriter, readRemembered } from './remembered.ts';

const owner: Owner = { applySetId: 'applyset-a-v1', fieldManager: 'agentk-1' };

function live(name: string, value: string): LiveObject {
  const time = '2026-01-01T00:00:00Z';
  const ours = { manager: owner.fieldManager, operation: 'Apply', apiVersion: 'v1', time, fieldsV1: { 'f:data': { 'f:x': {} } } };
  const theirs = { manager: 'm', operation: 'Update', apiVersion: 'v1', time, fieldsV1: { 'f:data': { 'f:y': {} } } };
  const metadata = { name, namespace: 'n', uid: `uid-${name}`, resourceVersion: '7', managedFields: [ours, theirs] };
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { x: value, y: '1' } } as LiveObject;
}

function remembered(object: LiveObject): Remembered {
  return { digest: '0123456789abcdef', state: ownedState(object, owner.fieldManager) as OwnedState };
}

function written(...objects: readonly (readonly [string, LiveObject])[]): string {
  const writer = new RememberedWriter(owner);
  for (const [key, object] of objects) writer.add(key, remembered(object));
  return writer.text();
}

const text = written(['|ConfigMap|n|a', live('a', '1')]);

describe('What is remembered of objects', () => {
  it('lets a later agent judge them as if it had applied them itself', () => {
    const { digest, state } = readRemembered(owner, text).get('|ConfigMap|n|a') as Remembered;
    expect(digest).toBe('0123456789abcdef');
    expect(judge(state, live('a', '1'), owner.fieldManager).kind).toBe('none');
    expect(judge(state, live('a', '2'), owner.fieldManager)).toMatchObject({
      kind: 'drifted',
      paths: [{ keys: ['f:data', 'f:x'] }],
    });
    expect(state.others).toEqual(remembered(live('a', '1')).state.others);
  });

  it('shares the fields of objects that are alike', () => {
    const objects = Array.from({ length: 100 }, (_, n) => [`|ConfigMap|n|a${n}`, live(`a${n}`, '1')] as const);
    const { texts } = JSON.parse(written(...objects)) as { texts: unknown[] };
    expect(texts).toHaveLength(2);
  });

  const good = JSON.parse(text) as { format: number; texts: unknown[]; objects: unknown[][] };
  const row = good.objects[0] as unknown[];
  const damaged: readonly (readonly [string, unknown])[] = [
    ['null', null],
    ['a list', []],
    ['another format', { ...good, format: 2 }],
    ["another unit's", { ...good, applySetId: 'applyset-b-v1' }],
    ["another agent's", { ...good, fieldManager: 'agentk-2' }],
    ['without objects', { ...good, objects: undefined }],
    ['a row that is none', { ...good, objects: ['x'] }],
    ['a short row', { ...good, objects: [row.slice(0, 4)] }],
    ['a key that names no object', { ...good, objects: [['x', ...row.slice(1)]] }],
    ['a text that is not there', { ...good, texts: [] }],
    [
      'a text that is no set of fields',
      {
        ...good,
        texts: [
          ['v1', '1'],
          ['v1', '{}'],
        ],
      },
    ],
    ['half a hash', { ...good, objects: [[...row.slice(0, 6), 'AA==', row[7]]] }],
  ];
  it.each(damaged)('is refused whole when it is %s', (_what, content) => {
    expect(() => readRemembered(owner, JSON.stringify(content))).toThrow(TypeError);
  });
});
