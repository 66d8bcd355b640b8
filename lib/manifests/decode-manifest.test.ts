import { contentDigest } from '../bundle.ts';
import { decodeManifest } from './decode-manifest.ts';

const decode = (text: string, file = 'app.yaml'): ReturnType<typeof decodeManifest> => decodeManifest(file, Buffer.from(text));
const configMap = (name: string, more = ''): string => `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\n${more}`;
/** `line reason: message`, for each problem. */
const problemsOf = (text: string, file?: string): string[] =>
  decode(text, file).problems.map(({ line, reason, message }) => `${line} ${reason}: ${message}`);
const contentOf = (text: string): unknown => JSON.parse(decode(text).objects[0]?.content.toString() ?? 'null');

describe('decodeManifest', () => {
  it('tells where each object is and what it is', () => {
    const { objects, problems } = decode(
      `# two objects\n---\n${configMap('a', 'data: {}\n')}---\n\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: b\n  namespace: demo\n`,
    );

    expect(problems).toEqual([]);
    expect(objects.map(({ id, apiVersion, source, line }) => ({ id, apiVersion, source, line }))).toEqual([
      { id: { group: '', kind: 'ConfigMap', namespace: '', name: 'a' }, apiVersion: 'v1', source: 'app.yaml:3', line: 3 },
      {
        id: { group: 'apps', kind: 'Deployment', namespace: 'demo', name: 'b' },
        apiVersion: 'apps/v1',
        source: 'app.yaml:9',
        line: 9,
      },
    ]);
  });

  it('gives equal objects equal bytes, whatever the order and style of their keys', () => {
    const [yaml] = decode('kind: ConfigMap\nmetadata:\n  name: "a"\napiVersion: v1\ndata: {b: x, a: z}\n').objects;
    const [json] = decode(
      '{"apiVersion": "v1", "data": {"a": "z", "b": "x"}, "kind": "ConfigMap", "metadata": {"name": "a"}}',
    ).objects;

    expect(yaml?.content.toString()).toBe(
      '{"apiVersion":"v1","data":{"a":"z","b":"x"},"kind":"ConfigMap","metadata":{"name":"a"}}',
    );
    expect(json?.content).toEqual(yaml?.content);
    expect(json?.digest).toBe(contentDigest(json?.content ?? Buffer.alloc(0)));
  });

  it('names the line of an item of a list, in YAML and in JSON', () => {
    const yaml = `apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a}\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: b}\n`;
    const json =
      '{"kind": "SecretList", "apiVersion": "v1",\n"items": [\n{"metadata": {"name": "a"}},\n{"metadata": {"name": "b"}}]}';

    expect(decode(yaml).objects.map(({ line }) => line)).toEqual([4, 7]);
    expect(decode(json).objects.map(({ line, id }) => [line, id.kind])).toEqual([
      [3, 'Secret'],
      [4, 'Secret'],
    ]);
  });

  it.each([
    [
      'a tab',
      'apiVersion: v1\nmetadata:\n\tname: a\n',
      '3 InvalidYaml: column 1: tab characters must not be used in indentation; indent with spaces',
    ],
    ['an open bracket', configMap('a', 'data: [1,\n'), /^5 InvalidYaml: column \d+: unexpected end of the stream within a flow/],
    [
      'an unknown anchor',
      configMap('a', 'data: *b\n'),
      '4 InvalidYaml: column 7: unknown anchor "b"; correct the YAML at this place',
    ],
    ['infinity', configMap('a', 'data: {a: .inf}\n'), /^4 InvalidYaml: column 11: infinity and not-a-number cannot be sent/],
    ['a null key', configMap('a', 'data:\n  ~: 1\n'), /^5 InvalidYaml: column 3: null cannot be a key; quote it/],
    [
      'one key as number and as text',
      configMap('a', 'data:\n  1: a\n  "1": b\n'),
      /^6 InvalidYaml: column 4: the key "1" is given as two types/,
    ],
    [
      'a line separator',
      configMap('a', 'data: "\u2028"\n'),
      /^4 InvalidYaml: column 8: the character U\+2028 is a line break to kubectl/,
    ],
    [
      'content behind a separator',
      '--- {a: 1}\n',
      '1 InvalidYaml: kubectl takes no content after "---"; move "{a: 1}" to the next line',
    ],
    ['text', 'hello\n', '1 NotAnObject: the document is text; a manifest is a mapping with apiVersion, kind and metadata'],
    ['a list', '\n- a\n', /^2 NotAnObject: the document is a list/],
    [
      'no kind',
      'apiVersion: v1\nmetadata: {name: a}\n',
      '1 MissingKind: the object has no kind; add one such as "kind: ConfigMap"',
    ],
    [
      'no apiVersion',
      'kind: Secret\nmetadata: {name: a}\n',
      '1 MissingApiVersion: the object has no apiVersion; add one such as "apiVersion: v1"',
    ],
    ['no metadata', 'apiVersion: v1\nkind: Secret\n', '1 MissingName: the object has no metadata.name; add it'],
    [
      'generateName',
      'apiVersion: v1\nkind: Job\nmetadata: {generateName: a-}\n',
      /^1 MissingName: .*generateName would create a new object at each sync/,
    ],
    ['a name that is a boolean', configMap('n'), '1 InvalidName: metadata.name is the boolean false, not text; put it in quotes'],
    ['a name with a slash', configMap('a/b'), /^1 InvalidName: metadata.name holds a character/],
    [
      'a namespace that is a number',
      'apiVersion: v1\nkind: A\nmetadata: {name: a, namespace: 5}\n',
      /^1 InvalidName: metadata.namespace is a number/,
    ],
    ['metadata that is text', 'apiVersion: v1\nkind: A\nmetadata: a\n', /^1 InvalidName: metadata is text; it must be a mapping/],
    ['a kind with a space', 'apiVersion: v1\nkind: A B\nmetadata: {name: a}\n', /^1 InvalidKind: /],
    [
      'an apiVersion with two slashes',
      'apiVersion: a/b/c\nkind: A\nmetadata: {name: a}\n',
      /^1 InvalidKind: the apiVersion must be/,
    ],
    [
      'a list in a list',
      'apiVersion: v1\nkind: List\nitems:\n- {kind: List, items: []}\n',
      /^4 NotAnObject: items\[0\] is a list itself/,
    ],
    ['an item that is no object', 'apiVersion: v1\nkind: List\nitems: [5]\n', /^1 NotAnObject: items\[0\] is a number/],
  ])('refuses %s, with line, reason and remedy', (_, text, expected) => {
    expect(decode(text).objects).toEqual([]);
    expect(problemsOf(text)).toHaveLength(1);
    expect(problemsOf(text)[0]).toMatch(expected);
  });

  it.each([
    [
      'broken JSON',
      '{"apiVersion": "v1",\n "kind": ]}',
      '2 InvalidJson: column 10: expected a value; correct the JSON at this place',
    ],
    ['an open object', '{"apiVersion": "v1"\n', '2 InvalidJson: column 1: expected "," or "}"; correct the JSON at this place'],
    ['a number too large', '{"a": 1e400}', '1 InvalidJson: the number 1e400 is too large; write a smaller one, or text'],
  ])('refuses %s in a .json file', (_, text, expected) => {
    expect(problemsOf(text, 'app.json')).toEqual([expected]);
  });

  it('refuses a file that is not UTF-8, with the line', () => {
    const { objects, problems } = decodeManifest('app.yaml', Buffer.from([...Buffer.from('a: 1\nb: '), 0xff, 0x0a]));

    expect(objects).toEqual([]);
    expect(problems).toEqual([
      {
        severity: 'error',
        reason: 'InvalidEncoding',
        message: 'the file is not UTF-8; save it as UTF-8',
        file: 'app.yaml',
        line: 2,
      },
    ]);
  });

  it('goes on behind a broken document', () => {
    const text = `${configMap('a')}---\na: [\n---\nkind: B\nmetadata: {name: b}\n---\n${configMap('c')}`;

    expect(decode(text).objects.map(({ id }) => id.name)).toEqual(['a', 'c']);
    expect(decode(text).problems).toEqual([
      expect.objectContaining({ reason: 'InvalidYaml', line: 5 }),
      expect.objectContaining({ reason: 'MissingApiVersion', line: 7, object: 'B b' }),
    ]);
  });

  it('warns of a key that is given twice and of content that kubectl ignores', () => {
    const text = `${configMap('a', 'data:\n  x: one\n  x: two\n')}...\nmore: content\n`;

    expect(contentOf(text)).toMatchObject({ data: { x: 'two' } });
    expect(problemsOf(text)).toEqual([
      '6 DuplicateKey: the key "x" is given twice and the last one counts; remove the other',
      '8 IgnoredContent: kubectl ignores what follows "..."; part documents by "---"',
    ]);
    expect(decode(text).problems.map(({ severity }) => severity)).toEqual(['warning', 'warning']);
  });

  it('keeps the list of problems short', () => {
    const { problems } = decode('---\n5\n'.repeat(500));

    expect(problems).toHaveLength(101);
    expect(problems.at(-1)).toMatchObject({
      severity: 'error',
      reason: 'TooManyProblems',
      message: expect.stringContaining('400 more'),
    });
  });

  describe('on what only the server sets', () => {
    it('drops it, with one warning per object', () => {
      const text =
        'apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  uid: x\n  resourceVersion: "5"\n  generation: 2\n' +
        '  creationTimestamp: 2020-01-01T00:00:00Z\n  selfLink: /x\n  managedFields: [{manager: m}]\nspec: {}\nstatus: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}\n';

      expect(contentOf(text)).toEqual({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' }, spec: {} });
      expect(decode(text).problems).toEqual([
        {
          severity: 'warning',
          reason: 'StrippedFields',
          message:
            'only the API server sets metadata.creationTimestamp, metadata.generation, metadata.managedFields, metadata.resourceVersion, ' +
            'metadata.selfLink, metadata.uid, status, which were left out; remove them from the file',
          file: 'app.yaml',
          line: 1,
          object: 'Service a',
        },
      ]);
    });

    it('drops the placeholders of generators silently', () => {
      const text =
        'apiVersion: v1\nkind: Service\nmetadata: {name: a, creationTimestamp: null}\nstatus: {loadBalancer: {}, conditions: []}\n';

      expect(contentOf(text)).toEqual({ apiVersion: 'v1', kind: 'Service', metadata: { name: 'a' } });
      expect(decode(text).problems).toEqual([]);
    });

    it('keeps fields of the same names elsewhere', () => {
      const text = configMap('a', 'spec: {status: x, template: {metadata: {uid: z}}}\n');

      expect(contentOf(text)).toMatchObject({ spec: { status: 'x', template: { metadata: { uid: 'z' } } } });
    });
  });

  describe('on a Secret', () => {
    const secret = (more: string): string => `apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n${more}`;

    it('turns stringData into data, where stringData wins', () => {
      const text = secret('data: {a: b2xk, b: aw==}\nstringData: {a: new, c: "é", d: }\n');

      expect(contentOf(text)).toEqual({
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'a' },
        data: { a: 'bmV3', b: 'aw==', c: 'w6k=', d: '' },
      });
      expect(decode(text).problems).toEqual([]);
    });

    it('leaves stringData of other kinds alone', () => {
      expect(contentOf(secret('stringData: {a: b}\n').replace('v1', 'example.com/v1'))).toMatchObject({ stringData: { a: 'b' } });
    });

    it('refuses what is not text, without printing it', () => {
      expect(problemsOf(secret('stringData: {port: 8080, ok: x}\n'))).toEqual([
        '1 InvalidSecret: stringData["port"] is a number, but must be text; put it in quotes',
      ]);
    });
  });

  it('stays within seconds on input that is made to be slow', () => {
    const aliases = [configMap('a', 'a0: &a0 [x]')];
    for (let level = 1; level < 40; level++)
      aliases.push(
        `a${level}: &a${level} [${Array(9)
          .fill(`*a${level - 1}`)
          .join(', ')}]`,
      );
    const longText = configMap('a', `a: &a "${'x'.repeat(1_000_000)}"\nb: [${Array(90_000).fill('*a').join(',')}]`);
    const unindented = configMap('a', `spec: [\n${'x,\n'.repeat(20_000)}]\n`);
    const started = performance.now();

    expect(problemsOf(aliases.join('\n'))).toEqual([expect.stringContaining('aliases multiply the document too much')]);
    expect(problemsOf(longText)).toEqual([expect.stringContaining('aliases multiply the document too much')]);
    expect(problemsOf(unindented)).toEqual([expect.stringContaining('not indented enough')]);
    expect(problemsOf(configMap('a', `a: ${'['.repeat(100_000)}`))).toEqual([
      expect.stringContaining('nested deeper than 500 levels'),
    ]);
    expect(problemsOf(`{"a": ${'['.repeat(100_000)}`)).toEqual([expect.stringContaining('nested deeper than 500 levels')]);
    expect(problemsOf(`${' '.repeat(500_000)}\n${'- '.repeat(100_000)}`)).toEqual([
      expect.stringContaining('nested deeper than 500 levels'),
    ]);
    expect(performance.now() - started).toBeLessThan(30_000);
  });
});
