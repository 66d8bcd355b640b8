import { z } from 'zod';
import { durationMs, listenAddress } from './config-types.ts';
import { toError, UserError } from './errors.ts';
import { parseYamlConfig } from './yaml-config.ts';

const schema = z.strictObject({
  agent: z
    .strictObject({
      listen: z.strictObject({ address: listenAddress(), max_connections: z.int().min(1).optional() }).optional(),
      poll_period: durationMs({ min: 1000 }).default(20_000),
    })
    .prefault({}),
  observability: z.strictObject({ level: z.enum(['debug', 'info']) }).optional(),
  projects: z
    .array(z.strictObject({ id: z.string(), paths: z.array(z.strictObject({ glob: z.string() })).optional() }))
    .default([]),
  labels: z.record(z.string(), z.string()).default({}),
});

function problemsOf(text: string, of: z.ZodType = schema): string[] {
  const error = errorOf(() => parseYamlConfig(text, 'kas.yaml', of));
  expect(error).toBeInstanceOf(UserError);
  expect(error).toMatchObject({ kind: 'invalid', reason: 'InvalidConfiguration' });
  return toError(error).message.split('\n');
}

function errorOf(run: () => unknown): unknown {
  try {
    return run();
  } catch (thrown) {
    return thrown;
  }
}

describe('parseYamlConfig', () => {
  it('returns what the schema makes of the file', () => {
    const text = 'agent:\n  listen: {address: ":8150"}\n  poll_period: 1m30s\nlabels: {a: "1", 5: "number keys are text"}\n';

    expect(parseYamlConfig(text, 'kas.yaml', schema)).toEqual({
      agent: { listen: { address: { host: '0.0.0.0', port: 8150 } }, poll_period: 90_000 },
      projects: [],
      labels: { a: '1', '5': 'number keys are text' },
    });
  });

  it.each(['', '\n', '# only a comment\n', '---\n', '~', '\uFEFF# with a byte order mark\n'])(
    'takes %j for an empty mapping',
    (text) => {
      expect(parseYamlConfig(text, 'kas.yaml', schema)).toEqual({ agent: { poll_period: 20_000 }, projects: [], labels: {} });
    },
  );

  it('lists every problem with line, path and remedy, in the order of the file', () => {
    const text = [
      'agent:',
      '  listen:',
      '    adress: 127.0.0.1:8150',
      '    max_connections: "5"',
      '  poll_period: 10 seconds',
      'observability:',
      '  level: loud',
      'projects:',
      '- id: group/a',
      '  paths: [{glob: "a"}, {glub: "b"}]',
      '- paths: 5',
      'wholly_different: 1',
    ].join('\n');

    expect(problemsOf(text)).toEqual([
      'kas.yaml:2: agent.listen.address: is missing; add it, it is text',
      'kas.yaml:3: agent.listen.adress: unknown key; did you mean "address"?',
      'kas.yaml:4: agent.listen.max_connections: must be a number, but is text; change it',
      'kas.yaml:5: agent.poll_period: must be a duration; write it like 20s, 1.5s, 1h30m or 300ms',
      'kas.yaml:7: observability.level: must be "debug" or "info"; change it',
      'kas.yaml:10: projects[0].paths[1].glob: is missing; add it, it is text',
      'kas.yaml:10: projects[0].paths[1].glub: unknown key; did you mean "glob"?',
      'kas.yaml:11: projects[1].id: is missing; add it, it is text',
      'kas.yaml:11: projects[1].paths: must be a list, but is a number; change it',
      'kas.yaml:12: wholly_different: unknown key; known here: agent, labels, observability, projects',
    ]);
  });

  it('finds the same key twice, besides the other problems', () => {
    expect(problemsOf('labels:\n  a: x\n  b: 1\n  a: y\n')).toEqual([
      'kas.yaml:3: labels.b: must be text, but is a number; change it',
      'kas.yaml:4: labels.a: the key is given twice in this mapping; remove one of them',
    ]);
  });

  it.each([
    ['a tab', 'agent:\n\tlisten: {}\n', /^kas\.yaml:2: column 1: .*tab.*; indent with spaces$/],
    ['broken YAML', 'agent: {\nlabels: }}\n', /^kas\.yaml:2: column \d+: .+; correct the YAML at this place$/],
    ['several documents', 'agent: {}\n---\nlabels: {}\n', /^kas\.yaml:3: a second document starts here; keep one/],
    ['a list', '- a\n', /^kas\.yaml:1: the file must hold a mapping/],
    ['a tag', 'labels:\n  a: !!binary aGk=\n', /^kas\.yaml:2: labels\.a: tags are not supported/],
    [
      'a number beyond 2^53',
      'agent: {listen: {max_connections: 9007199254740993}}',
      /^kas\.yaml:1: .*too large to be kept exactly/,
    ],
    ['a key that is a list', '? [a]\n: 1\n', /^kas\.yaml:1: a key must be text/],
    ['__proto__', '__proto__: {polluted: true}\n', /^kas\.yaml:1: unknown key "__proto__"/],
    ['an anchor that holds itself', 'labels: &a {b: *a}\n', /^kas\.yaml:1: .*anchor "a" contains itself/],
    ['an unknown anchor', 'labels: {b: *a}\n', /^kas\.yaml:1: .*unknown anchor "a"/],
  ])('refuses %s', (_, text, message) => {
    expect(problemsOf(text).join('\n')).toMatch(message);
  });

  it('expands aliases and merge keys, own keys first', () => {
    const text = 'labels: &l\n  a: x\n  b: y\nprojects: []\nagent: {}\n';
    const pairs = z.strictObject({ base: z.record(z.string(), z.string()), used: z.record(z.string(), z.string()) });

    expect(parseYamlConfig(text, 'kas.yaml', schema).labels).toEqual({ a: 'x', b: 'y' });
    expect(parseYamlConfig('base: &b {a: x, b: y}\nused: {<<: *b, b: z}\n', 'f', pairs).used).toEqual({ a: 'x', b: 'z' });
  });

  it('names the line of a merged value where it is written', () => {
    const pairs = z.strictObject({ base: z.record(z.string(), z.int()), used: z.strictObject({ a: z.string() }) });

    expect(problemsOf('base: &b\n  a: 5\nused:\n  <<: *b\n', pairs)).toEqual([
      'kas.yaml:2: used.a: must be text, but is a number; change it',
    ]);
  });

  it('chooses the branch of a union that fits best', () => {
    const either = z.strictObject({
      backend: z.union([z.strictObject({ file: z.string() }), z.strictObject({ gitlab: z.strictObject({ url: z.url() }) })]),
    });

    expect(problemsOf('backend:\n  gitlab:\n    url: "not a url"\n', either)).toEqual([
      'kas.yaml:3: backend.gitlab.url: invalid URL; change it',
    ]);
  });

  it('ends within seconds for aliases that multiply and for deep nesting', () => {
    const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
    for (let i = 1; i < 30; i++)
      bomb.push(
        `a${i}: &a${i} [${Array(9)
          .fill(`*a${i - 1}`)
          .join(', ')}]`,
      );
    const started = performance.now();

    expect(problemsOf(bomb.join('\n'))).toEqual([
      expect.stringMatching(/more than 100000 values, aliases expanded; make the file simpler$/),
    ]);
    expect(problemsOf(`labels: ${'['.repeat(100_000)}`)).toEqual([
      expect.stringMatching(/nested deeper than 50 levels; make the file simpler$/),
    ]);
    expect(problemsOf(Array.from({ length: 5000 }, (_, i) => `k${i}: 1`).join('\n'))).toHaveLength(101);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it('says that a schema which lets unknown keys pass is a bug', () => {
    expect(() => parseYamlConfig('', 'kas.yaml', z.strictObject({ a: z.array(z.object({ b: z.string() })) }))).toThrow(
      'the schema of the object with the keys b must be a z.strictObject',
    );
  });
});
