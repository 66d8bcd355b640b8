import type { ObjectResult } from '../sync-status/unit-status.ts';
import type { SyncReportPart } from './agent-message.ts';
import { ReportAssembler } from './report-assembler.ts';

const object = (name: string): ObjectResult => ({
  id: { group: '', kind: 'ConfigMap', namespace: 'ns', name },
  action: 'created',
  reason: '',
  message: '',
  source: 'a.yaml:1',
  health: 'current',
  healthMessage: '',
});

function part(names: string[], last: boolean, change: Partial<SyncReportPart> = {}): SyncReportPart {
  return {
    unit: 'shop',
    commitId: 'c1',
    bundleDigest: 'd1',
    phase: 'synced',
    reason: '',
    message: '',
    startedAt: new Date(1),
    finishedAt: new Date(2),
    objects: names.map(object),
    last,
    ...change,
  };
}

test('a report in several messages is one report', () => {
  const assembler = new ReportAssembler();
  expect(assembler.add(part(['a', 'b'], false))).toBeUndefined();
  expect(assembler.add(part(['c'], false))).toBeUndefined();
  const report = assembler.add(part(['d'], true));
  expect(report?.objects?.map(({ id }) => id.name)).toEqual(['a', 'b', 'c', 'd']);
});

test('a report of a newer sync replaces one that was never finished', () => {
  const assembler = new ReportAssembler();
  assembler.add(part(['old'], false));
  expect(assembler.add(part(['new'], true, { commitId: 'c2' }))?.objects?.map(({ id }) => id.name)).toEqual(['new']);
});

test('the start of a sync says nothing about objects, the end of an empty one that there are none', () => {
  const assembler = new ReportAssembler();
  expect(assembler.add(part([], true, { finishedAt: undefined }))?.objects).toBeUndefined();
  expect(assembler.add(part([], true))?.objects).toEqual([]);
});

test('unfinished reports are bounded', () => {
  const assembler = new ReportAssembler(3);
  assembler.add(part(['a', 'b'], false));
  assembler.add(part(['a', 'b'], false, { commitId: 'c2' }));
  expect(() => assembler.add(part(['c', 'd'], false, { unit: 'other' }))).toThrow('too many objects');
});
