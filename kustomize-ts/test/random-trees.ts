import fc from 'fast-check';

/** Files of a tree, and the folder to build. */
export interface RandomTree {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly path: string;
}

const word = fc.stringMatching(/^[a-z]([a-z0-9-]{0,6}[a-z0-9])?$/);
const names = fc.constantFrom('web', 'db', 'cache', 'settings', 'extra');
/** What YAML readers fall out over. */
const scalar = fc.oneof(
  fc.constantFrom(
    '0644',
    '1e3',
    'no',
    'Yes',
    '~',
    'null',
    '"1"',
    '0x1f',
    '1_000',
    '.inf',
    "'it''s'",
    '2026-11-23',
    '""',
    '12345678901234567890',
  ),
  fc.integer().map(String),
  word,
  fc.string({ maxLength: 8 }).map((text) => JSON.stringify(text)),
);
const text = fc.string({ maxLength: 10, unit: 'grapheme-ascii' }).map((value) => JSON.stringify(value));
const pairs = fc.dictionary(word, text, { maxKeys: 3, noNullPrototype: true });

const flow = (members: Readonly<Record<string, string>>): string =>
  `{${Object.entries(members)
    .map(([key, value]) => `${JSON.stringify(key)}: ${value}`)
    .join(', ')}}`;

const configMap = fc
  .record({ name: names, data: pairs, labels: pairs })
  .map(
    ({ name, data, labels }) =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n  labels: ${flow(labels)}\ndata: ${flow(data)}\n`,
  );

const deployment = fc
  .record({
    name: names,
    image: fc.constantFrom('nginx', 'nginx:1', 'redis:7', 'a.example.com/b'),
    settings: names,
    replicas: scalar,
  })
  .map(
    ({ name, image, settings, replicas }) => `apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${name}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      containers:
        - name: main
          image: ${image}
          envFrom: [{configMapRef: {name: ${settings}}}]
      volumes:
        - name: v
          configMap: {name: ${settings}}
`,
  );

const custom = fc
  .record({ name: names, fields: fc.dictionary(word, scalar, { maxKeys: 4, noNullPrototype: true }) })
  .map(({ name, fields }) => `apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: ${name}}\nspec: ${flow(fields)}\n`);

const manifest = fc.oneof(configMap, deployment, custom, scalar);

/** Lines of a kustomization file; some of them are wrong, alone or together. */
const field = fc.oneof(
  word.map((value) => `namePrefix: ${value}-\n`),
  word.map((value) => `nameSuffix: -${value}\n`),
  word.map((value) => `namespace: ${value}\n`),
  pairs.map((value) => `commonAnnotations: ${flow(value)}\n`),
  pairs.map((value) => `commonLabels: ${flow(value)}\n`),
  fc.tuple(pairs, fc.boolean()).map(([value, all]) => `labels: [{pairs: ${flow(value)}, includeSelectors: ${all}}]\n`),
  fc.constantFrom('nginx', 'redis').map((name) => `images: [{name: ${name}, newTag: "9"}]\n`),
  fc.tuple(names, fc.nat(9)).map(([name, count]) => `replicas: [{name: ${name}, count: ${count}}]\n`),
  fc.tuple(names, pairs).map(
    ([name, data]) =>
      `configMapGenerator: [{name: ${name}, literals: [${Object.keys(data)
        .map((key) => `${key}=x`)
        .join(', ')}]}]\n`,
  ),
  fc
    .tuple(names, scalar)
    .map(
      ([name, value]) =>
        `patches:\n- target: {kind: ConfigMap, name: ${name}}\n  patch: |-\n    - {op: add, path: /data/added, value: ${value}}\n`,
    ),
  names.map(
    (name) =>
      `patches:\n- patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: ${name}}\n    spec: {paused: true}\n`,
  ),
  scalar.map((value) => `${value.replace(/\W/g, '') || 'x'}: ${value}\n`),
);

const folder = fc.record({
  manifests: fc.array(manifest, { minLength: 1, maxLength: 3 }),
  fields: fc.uniqueArray(field, { maxLength: 4, selector: (line) => line.slice(0, line.indexOf(':')) }),
});

/** Folders in a row, each of which may build on those before it. */
export const randomTree: fc.Arbitrary<RandomTree> = fc
  .array(fc.tuple(folder, fc.array(fc.nat(2), { maxLength: 2 })), { minLength: 1, maxLength: 3 })
  .map((folders) => {
    const files = new Map<string, Buffer>();
    for (const [index, [{ manifests, fields }, bases]] of folders.entries()) {
      const own = manifests.map((content, at): [string, string] => [`m${at}.yaml`, content]);
      for (const [name, content] of own) files.set(`f${index}/${name}`, Buffer.from(content));
      const below = [...new Set(bases)].filter((base) => base < index).map((base) => `../f${base}`);
      const resources = [...own.map(([name]) => name), ...below].join(', ');
      files.set(`f${index}/kustomization.yaml`, Buffer.from(`resources: [${resources}]\n${fields.join('')}`));
    }
    return { files, path: `f${folders.length - 1}` };
  });
