import type { LiveObject } from '../../kube/cluster.ts';
import { REMOVAL_RULES } from '../desired/labels.ts';
import { parseRemoval, removalNotes } from './removal-notes.ts';

const unit = {
  project: 'group/shop',
  ref: undefined,
  removalPolicy: 'prune',
  prunePropagation: 'background',
  pruneTimeoutMs: 1_000,
  pruneBudget: { objects: 1, percent: 10 },
  serviceAccount: undefined,
  inclusions: [],
  exclusions: [{ apiGroups: ['*'], kinds: ['Secret'] }],
} as const;

function parent(annotations: Readonly<Record<string, string>>): LiveObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'p', uid: 'u', resourceVersion: '1', annotations } };
}

describe('What is written on an ApplySet parent for the time after its unit', () => {
  const notes = removalNotes(unit, 'agent');

  it('is read as it was written', () => {
    expect(parseRemoval(parent(notes))).toEqual({ ...JSON.parse(JSON.stringify(unit)), agentName: 'agent' });
  });

  it.each([
    ['from an agent that did not write down the source', { project: undefined }, true],
    ['with a project that is no text', { project: 5 }, false],
    ['with a ref that is no text', { ref: null }, false],
    ['without a time for the prune', { pruneTimeoutMs: undefined }, false],
  ])('%s: %j counts: %s', (_which, more, counts) => {
    const rules = JSON.stringify({ ...JSON.parse(notes[REMOVAL_RULES] ?? ''), ...more });
    expect(parseRemoval(parent({ ...notes, [REMOVAL_RULES]: rules })) !== undefined).toBe(counts);
  });
});
