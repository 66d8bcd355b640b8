import { LineIndex, parseYamlTree, YamlSyntaxError } from './yaml-tree.ts';

const parse = (text: string): ReturnType<typeof parseYamlTree> => parseYamlTree(text, { maxDepth: 20 });

describe('parseYamlTree', () => {
  it('keeps what was written, where it was written', () => {
    const [document] = parse('a: [1, "2"]\na: |\n  x\n');

    expect(document?.root).toEqual({
      kind: 'mapping',
      offset: 0,
      tag: '',
      flow: false,
      entries: [
        {
          key: { kind: 'scalar', offset: 0, end: 1, tag: '', text: 'a', style: 'plain' },
          value: {
            kind: 'sequence',
            offset: 3,
            tag: '',
            flow: true,
            items: [
              { kind: 'scalar', offset: 4, end: 5, tag: '', text: '1', style: 'plain' },
              { kind: 'scalar', offset: 8, end: 9, tag: '', text: '2', style: 'double-quoted' },
            ],
          },
        },
        {
          key: { kind: 'scalar', offset: 12, end: 13, tag: '', text: 'a', style: 'plain' },
          value: { kind: 'scalar', offset: 17, end: 21, tag: '', text: 'x\n', style: 'block' },
        },
      ],
    });
  });

  it('shares the node of an alias, and forgets anchors at the end of a document', () => {
    const [document] = parse('[&a {b: 1}, *a]');
    const items = document?.root.kind === 'sequence' ? document.root.items : [];

    expect(items).toHaveLength(2);
    expect(items[0]).toBe(items[1]);
    expect(document?.hasAliases).toBe(true);
    expect(() => parse('&a x\n--- \n*a\n')).toThrow('unknown anchor "a"');
  });

  it.each([
    ['!!str x', 'tag:yaml.org,2002:str'],
    ['!local x', '!local'],
    ['! x', '!'],
    ['!<tag:example.com,2000:x> x', 'tag:example.com,2000:x'],
    ['%TAG !e! tag:example.com,2000:\n---\n!e!x%21 x', 'tag:example.com,2000:x!'],
  ])('gives the tag of %j in full', (text, tag) => {
    expect(parse(text)[0]?.root.tag).toBe(tag);
  });

  it('says where the text is no YAML', () => {
    expect(() => parse('a: 1\nb: [')).toThrow(YamlSyntaxError);
    expect(() => parse('a: 1\n\tb: 2')).toThrow(expect.objectContaining({ offset: 5 }));
    expect(() => parse('['.repeat(50))).toThrow('nested deeper than 20 levels');
  });
});

describe('LineIndex', () => {
  it.each([
    [0, 1, 1],
    [1, 1, 2],
    [2, 2, 1],
    [4, 3, 1],
    [6, 4, 1],
    [99, 4, 94],
  ])('finds offset %d in line %d, column %d', (offset, line, column) => {
    const index = new LineIndex('a\nb\rc\nd');

    expect([index.line(offset), index.column(offset)]).toEqual([line, column]);
  });
});
