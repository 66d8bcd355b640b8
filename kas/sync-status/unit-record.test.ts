import { MAX_OBJECTS, newUnitRecord, withObjects, withSync } from './unit-record.ts';
import type { ObjectResult } from './unit-status.ts';

function objects(count: number, prefix: string): ObjectResult[] {
  return Array.from({ length: count }, (_, index) => ({
    id: { group: '', kind: 'ConfigMap', namespace: 'demo', name: `${prefix}-${index}` },
    action: 'created',
    reason: '',
    message: '',
    source: '',
    health: 'current',
    healthMessage: '',
  }));
}

test('reports about ever more objects do not grow a unit without end', () => {
  const about = { unit: 'u', phase: 'synced', reason: '', message: '' } as const;
  const sync = {
    ...about,
    commitId: 'c',
    bundleDigest: 'd',
    startedAt: undefined,
    finishedAt: undefined,
    objects: objects(1, 'first'),
  };
  let record = withSync(newUnitRecord('u', 'p', new Date(0)), sync);
  for (let round = 0; round < 3; round++)
    record = withObjects(record, { ...about, objects: objects(MAX_OBJECTS / 2, `r${round}`) });
  expect(record.objects).toHaveLength(MAX_OBJECTS);
  expect(record.objects[0]?.id.name).toBe('first-0');
});
