import fc from 'fast-check';
import { compareObjectIds, formatObjectId, type ObjectId, objectKey } from './object-id.ts';

const deployment: ObjectId = { group: 'apps', kind: 'Deployment', namespace: 'demo', name: 'web' };
const namespace: ObjectId = { group: '', kind: 'Namespace', namespace: '', name: 'demo' };

// Few values, so that ids often agree in some of their parts.
const part = fc.constantFrom('', 'a', 'b', 'aa', 'Z');
const id = fc.record({ group: part, kind: part, namespace: part, name: part });

describe('an object id', () => {
  it('is written for people', () => {
    expect(formatObjectId(deployment)).toBe('Deployment.apps demo/web');
    expect(formatObjectId(namespace)).toBe('Namespace demo');
  });

  it('is ordered totally, in agreement with its key', () => {
    fc.assert(
      fc.property(id, id, id, (a, b, c) => {
        expect(compareObjectIds(a, b) === 0).toBe(objectKey(a) === objectKey(b));
        expect(compareObjectIds(a, b)).toBe(-compareObjectIds(b, a) || 0);
        if (compareObjectIds(a, b) > 0 || compareObjectIds(b, c) > 0) return;
        // oxlint-disable-next-line jest/no-conditional-expect -- transitivity holds for ordered triples
        expect(compareObjectIds(a, c)).toBeLessThanOrEqual(0);
      }),
    );
  });
});
