import fc from 'fast-check';

/** Texts that YAML 1.1, YAML 1.2, Go and JSON read differently. */
const nastyScalars = [
  ['y', 'n', 'yes', 'No', 'on', 'OFF', 'true', 'yEs', '~', 'null', 'Null', '', '<<', '=', '!'],
  ['0644', '0o17', '0x1F', '0b11', '0b-1', '1_000', '1__0', '0_', '+_1', '0x', '0x_1', '08', '+5', '-0', '--1'],
  ['0.0', '1.0', '.5', '5.', '+.5', '1.e5', '1e', 'e1', '1_0.5', '.2_8', '._1', '-.inf', '.nan'],
  ['1e3', '1E400', '.1e999', '1e21', '1e-7', '123456789.123456789', '0777777777777777777777777', '0x8000000000000000'],
  ['9007199254740993', '9223372036854775807', '9223372036854775808', '18446744073709551615', '-9223372036854775809'],
  ['12:30:45', '2020-01-01', '2001-12-14t21:59:43.10-05:00', '"a"', "'b'", '"5"', "'yes'", '"\\u0041\\x41"'],
  ['!!str 5', '!!int "5"', '!!float 1', '!!binary aGk=', '!!timestamp 2020-01-01', '! 5', '!foo bar', '&a 1', '*a'],
  ['a: b', '- a', '[]', '{}', '[1, y]', '{y: n}', 'a b', 'a:b', 'http://x:80/', 'a#b', 'a #b', '::', '-a', '?a', 'a?b', 'a,b'],
  ['%a', '@a', '`a', '|', '>', '|-', '- - a', '? a', 'a\tb', '\ta', 'é', '💩'],
].flat();

const indicators = '0123456789_+-.eExXoObBayntf~:#,[]{}&*!|>\'"%@`? /<='.split('');

const plain = fc.oneof(
  fc.constantFrom(...nastyScalars),
  fc.string({ unit: fc.constantFrom(...indicators), maxLength: 6 }),
  fc.string({ unit: fc.constantFrom(...'0123456789_+-.eExob'.split('')), maxLength: 8 }),
);

const scalar = fc.oneof(
  { weight: 3, arbitrary: plain },
  { weight: 1, arbitrary: plain.map((text) => JSON.stringify(text)) },
  { weight: 1, arbitrary: plain.map((text) => `'${text.replaceAll("'", "''")}'`) },
);

type RandomNode =
  | { readonly kind: 'scalar'; readonly text: string }
  | { readonly kind: 'block'; readonly header: string; readonly lines: string[] }
  | { readonly kind: 'list'; readonly flow: boolean; readonly items: RandomNode[] }
  | { readonly kind: 'mapping'; readonly flow: boolean; readonly entries: [string, RandomNode][] };

const { node } = fc.letrec<{ node: RandomNode }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'small' },
    fc.record({ kind: fc.constant('scalar' as const), text: scalar }),
    fc.record({
      kind: fc.constant('block' as const),
      header: fc.constantFrom('|', '>', '|-', '>-', '|+', '>+', '|2', '>1'),
      lines: fc.array(fc.oneof(plain, fc.constantFrom('', ' ', '  x', '\tx')), { maxLength: 4 }),
    }),
    fc.record({ kind: fc.constant('list' as const), flow: fc.boolean(), items: fc.array(tie('node'), { maxLength: 3 }) }),
    fc.record({
      kind: fc.constant('mapping' as const),
      flow: fc.boolean(),
      entries: fc.array(fc.tuple(scalar, tie('node')), { maxLength: 3 }),
    }),
  ),
}));

function writeFlow(value: RandomNode): string {
  switch (value.kind) {
    case 'scalar':
      return value.text;
    case 'block':
      return '"block"';
    case 'list':
      return `[${value.items.map(writeFlow).join(', ')}]`;
    case 'mapping':
      return `{${value.entries.map(([key, member]) => `${key}: ${writeFlow(member)}`).join(', ')}}`;
  }
}

function writeBlock(value: RandomNode, indent: string): string {
  switch (value.kind) {
    case 'scalar':
      return ` ${value.text}\n`;
    case 'block':
      return ` ${value.header}\n${value.lines.map((line) => `${indent}  ${line}\n`).join('')}`;
    case 'list':
      if (value.flow || value.items.length === 0) return ` ${writeFlow(value)}\n`;
      return `\n${value.items.map((item) => `${indent}-${writeBlock(item, `${indent}  `)}`).join('')}`;
    case 'mapping':
      if (value.flow || value.entries.length === 0) return ` ${writeFlow(value)}\n`;
      return `\n${value.entries.map(([key, member]) => `${indent}${key}:${writeBlock(member, `${indent}  `)}`).join('')}`;
  }
}

/** What follows `spec:`: nested lists and mappings in either style around nasty scalars. */
export const randomManifestBody = node.map((value) => writeBlock(value, '  '));

const noise = [...'ab1- :#,[]{}&*!|>\'"%?\n\n   \t\\'.split(''), ': ', '- ', '\n  ', '&a ', '*a', '<<', '? ', '\n- '];

/** What follows `spec:`: indicators in any order, for the most part no YAML. */
export const randomYamlNoise = fc
  .string({ unit: fc.constantFrom(...noise), maxLength: 25 })
  .map((text) => ` ${text.replaceAll('\n', '\n  ')}\n`);
