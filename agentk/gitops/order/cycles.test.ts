import fc from 'fast-check';
import { circles, type Waits, wayBack } from './cycles.ts';

const graphs = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 })), { maxLength: 25 })
  .map((pairs): Waits => {
    const waits = new Map<string, string[]>();
    for (const [from, to] of pairs) waits.set(`n${from}`, [...(waits.get(`n${from}`) ?? []), `n${to}`]);
    return waits;
  });

/** Everything that can be reached by at least one step. */
function reach(start: string, waits: Waits): ReadonlySet<string> {
  const seen = new Set<string>();
  const todo = [...(waits.get(start) ?? [])];
  for (let node = todo.pop(); node !== undefined; node = todo.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    todo.push(...(waits.get(node) ?? []));
  }
  return seen;
}

describe('Circles', () => {
  it('are exactly the nodes that can reach themselves, grouped by who reaches whom', () => {
    fc.assert(
      fc.property(graphs, (waits) => {
        const found = circles(waits);
        const members = found.flat();
        expect(new Set(members).size).toBe(members.length);
        const expected = [...waits.keys()].filter((node) => reach(node, waits).has(node));
        expect(members.toSorted()).toEqual(expected.toSorted());
        for (const group of found) {
          const others = expected.filter(
            (node) => reach(group[0] ?? '', waits).has(node) && reach(node, waits).has(group[0] ?? ''),
          );
          expect(group.toSorted()).toEqual(others.toSorted());
        }
      }),
    );
  });

  it('are walked along edges, past no node twice', () => {
    fc.assert(
      fc.property(graphs, (waits) => {
        for (const node of waits.keys()) {
          const way = wayBack(node, waits) ?? [];
          expect([way[0], way.at(-1)]).toEqual(reach(node, waits).has(node) ? [node, node] : [undefined, undefined]);
          const strayed = way.slice(1).filter((to, at) => waits.get(way[at] ?? '')?.includes(to) !== true);
          expect(strayed).toEqual([]);
          expect(new Set(way.slice(1)).size).toBe(Math.max(0, way.length - 1));
        }
      }),
    );
  });

  it('of a long chain are found without recursion', () => {
    const waits = new Map(Array.from({ length: 50_000 }, (_, at) => [`n${at}`, [`n${(at + 1) % 50_000}`]]));
    expect(circles(waits)[0]).toHaveLength(50_000);
    expect(wayBack('n7', waits)).toHaveLength(50_001);
  });
});
