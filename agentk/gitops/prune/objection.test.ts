import fc from 'fast-check';
import { objectKey } from '../../../lib/object-id.ts';
import { configMap, unit, unitBundle } from '../engine-fixture.ts';
import type { LiveEntry } from '../live/live-entry.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';
import { isConfirmed, isOverBudget } from './budget.ts';
import { type ObjectionInput, pruneObjection } from './objection.ts';

function entry(name: string, changes: Partial<LiveEntry> = {}): LiveEntry {
  const id = { group: '', kind: 'ConfigMap', namespace: 'n', name };
  return {
    key: objectKey(id),
    id,
    uid: name,
    resourceVersion: '1',
    partOf: 'set',
    appliers: [],
    digest: undefined,
    terminating: false,
    finalizers: [],
    keep: undefined,
    ...changes,
  };
}

const entries = (count: number, changes: Partial<LiveEntry> = {}): LiveEntry[] =>
  Array.from({ length: count }, (_, n) => entry(`${changes.keep ?? ''}${changes.terminating ?? ''}${n}`, changes));
const BUDGET = { objects: 50, percent: 30 };

describe('The budget of a prune', () => {
  it.each([
    ['50 of 60 objects', 50, 10, false],
    ['51 of 170 objects: 30 %', 51, 119, false],
    ['51 of 169 objects: over 30 %', 51, 118, true],
    ['all of 60 objects', 60, 0, true],
    ['all of 2 objects', 2, 0, false],
  ])('for %s', (_what, surplus, wanted, over) => {
    expect(isOverBudget({ surplus: entries(surplus), wanted, budget: BUDGET })).toBe(over);
  });

  it('counts neither what is going already nor what is kept anyway', () => {
    const surplus = [...entries(40), ...entries(40, { terminating: true }), ...entries(40, { keep: 'a: b' })];
    expect(isOverBudget({ surplus, wanted: 0, budget: BUDGET })).toBe(false);
  });

  it('is never over for fewer objects than for more', () => {
    const budget = fc.record({ objects: fc.nat(20), percent: fc.nat(100) });
    fc.assert(
      fc.property(fc.nat(30), fc.nat(30), fc.nat(30), budget, (count, more, wanted, limits) => {
        const over = (surplus: number): boolean =>
          isOverBudget({ surplus: entries(surplus), wanted: wanted + count + more - surplus, budget: limits });
        expect(over(count) && !over(count + more)).toBe(false);
      }),
    );
  });
});

describe('A confirmation', () => {
  const commit = '1f2cec54'.padEnd(40, '0');

  it.each([
    ['the whole id', commit, true],
    ['its first eight digits', commit.slice(0, 8), true],
    ['in capitals', commit.slice(0, 8).toUpperCase(), true],
    ['fewer digits', commit.slice(0, 7), false],
    ['another id', 'f'.repeat(40), false],
    ['nothing', '', false],
  ])('by %s', (_what, given, confirmed) => {
    expect(isConfirmed(given, [commit, 'a'.repeat(64)])).toBe(confirmed);
  });
});

describe('A prune is refused', () => {
  const bundle = unitBundle('one', [configMap('n', 'stays')]);
  const input: ObjectionInput = {
    unit: unit('one'),
    bundle,
    objects: [],
    surplus: entries(2),
    awaited: [],
    confirmations: ['', ''],
    howToConfirm: 'confirm',
  };
  const failed = { outcome: { action: 'failed' } } as TrackedObject;

  it.each<[string, Partial<ObjectionInput>, string | undefined]>([
    ['never for nothing', { surplus: [], awaited: ['two'] }, undefined],
    ['not without a reason', {}, undefined],
    ['where pruning is disabled', { unit: unit('one', { prune: false }) }, 'PruneDisabled'],
    ['for an empty bundle', { bundle: unitBundle('one', []) }, 'EmptyBundle'],
    ['while a path matches no file', { bundle: { ...bundle, incomplete: true } }, 'IncompleteSource'],
    ['while an object failed', { objects: [failed] }, 'ApplyFailed'],
    ['while the bundle of another unit is awaited', { awaited: ['two'] }, 'WaitingForUnits'],
    ['over the budget', { surplus: entries(60) }, 'PruneNeedsConfirmation'],
    ['not when that is confirmed', { surplus: entries(60), confirmations: ['', bundle.commitId] }, undefined],
    ['when another bundle is confirmed', { surplus: entries(60), confirmations: ['f'.repeat(64), ''] }, 'PruneNeedsConfirmation'],
  ])('%s', (_when, changes, reason) => {
    expect(pruneObjection({ ...input, ...changes })?.reason).toBe(reason);
  });

  it('with the number, the first names, and how to confirm', () => {
    const { message } = pruneObjection({ ...input, surplus: entries(60) }) ?? {};
    expect(message).toContain('60 of 60 objects would be deleted, over the budget of 50 objects and 30 %');
    expect(message).toContain('ConfigMap n/0, ConfigMap n/1, ConfigMap n/2 and 57 more');
    expect(message).toContain(`confirm=${bundle.commitId}`);
  });
});
