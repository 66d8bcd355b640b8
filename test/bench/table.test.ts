import { formatNumber, formatTable } from './table.ts';

describe('formatTable', () => {
  it('prints every figure beside its peer, with ratio, target and verdict', () => {
    const table = formatTable([
      {
        workload: '500 objects',
        unit: 'objects/s',
        better: 'more',
        ours: 812.4,
        peer: { name: 'raw', value: 1000 },
        target: { atLeastTimesPeer: 0.8 },
      },
      {
        workload: '500 objects',
        unit: 'objects/s',
        better: 'more',
        ours: 812.4,
        peer: { name: 'slow', value: 200 },
        target: { atLeastTimesPeer: 4, reduced: { wanted: 30, limit: 5 } },
      },
      { workload: 'idle', unit: 'requests', better: 'less', ours: 1, target: { atMost: 0 } },
    ]);
    expect(table.split('\n').map((line) => line.replace(/ +/g, ' '))).toEqual([
      '| workload | figure | ours | peer | | ratio | must reach | |',
      expect.stringMatching(/^\|( -+:? \|){8}$/),
      '| 500 objects | objects/s | 812 | raw | 1000 | 0.812 x | at least 0.8 x | ok |',
      '| 500 objects | objects/s | 812 | slow | 200 | 4.06 x | at least 4 x (wanted 30 x, the limit is 5 x) | ok |',
      '| idle | requests | 1 | | | | at most 0 | short |',
    ]);
  });

  it('aligns its columns', () => {
    const lines = formatTable([{ workload: 'a long name', unit: 's', better: 'less', ours: 1 }]).split('\n');
    expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
  });
});

it.each([
  [0, '0'],
  [0.012345, '0.0123'],
  [12.345, '12.3'],
  [1234.5, '1235'],
  [99.96, '100'],
  [Number.NaN, 'NaN'],
])('writes %d as %s', (value, text) => {
  expect(formatNumber(value)).toBe(text);
});
