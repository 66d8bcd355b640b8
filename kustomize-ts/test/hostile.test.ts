import { Kustomize, KustomizeError } from 'kustomize-ts';

/** Small bounds, so that each end is near. */
const LIMITS = {
  timeMs: 12_000,
  memoryBytes: 192 << 20,
  maxFileBytes: 64 << 20,
  maxTotalBytes: 128 << 20,
  maxFiles: 1_000,
};
const kustomize = new Kustomize({ workers: 1, limits: LIMITS });
/** For what has no end: time is that of the processor, of which a busy machine has little. */
const impatient = new Kustomize({ workers: 1, limits: { ...LIMITS, timeMs: 3_000 } });
afterAll(async () => {
  await kustomize.close();
  await impatient.close();
});

const MINUTES = 60_000;

const HEAD = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n';

type Files = Readonly<Record<string, string>>;

async function failureOf(files: Files, path = '.', used = kustomize): Promise<KustomizeError> {
  const error: unknown = await used.build({ files, path }).catch((reason: unknown) => reason);
  if (!(error instanceof KustomizeError)) throw new Error(`The build did not fail as it should: ${String(error)}`);
  return error;
}

/** A resource with this text behind its head. */
function resource(text: string): Files {
  return { 'kustomization.yaml': 'resources: [a.yaml]\n', 'a.yaml': HEAD + text };
}

/** Lists of nine aliases of lists of nine aliases of … */
function bomb(indent: string, levels: number): string {
  const names = Array.from({ length: levels }, (_, index) => String.fromCharCode(97 + index));
  return names
    .map(
      (name, index) =>
        `${indent}${name}: &${name} [${Array(9)
          .fill(index === 0 ? 'x' : `*${names[index - 1]}`)
          .join(',')}]\n`,
    )
    .join('');
}

/** Every level is built twice by the one above it. */
function doubling(levels: number): Files {
  const files: Record<string, string> = { 'l0/kustomization.yaml': 'resources: [a.yaml]\n', 'l0/a.yaml': HEAD };
  for (let level = 1; level <= levels; level += 1) {
    for (const side of ['a', 'b'])
      files[`l${level}${side}/kustomization.yaml`] = `namePrefix: ${side}-\nresources: [../l${level - 1}]\n`;
    files[`l${level}/kustomization.yaml`] = `resources: [../l${level}a, ../l${level}b]\n`;
  }
  return files;
}

function nested(open: string, close: string, levels: number): string {
  return open.repeat(levels) + close.repeat(levels);
}

const MEMORY_HOG = `data:\n${'  kkkk: vvvvvvvv\n'.repeat(3_000_000)}`;

function manyFiles(count: number): Files {
  const names = Array.from({ length: count }, (_, index) => `a${index}`);
  const files = names.map((name): [string, string] => [`${name}.yaml`, HEAD.replace('name: a', `name: ${name}`)]);
  return {
    'kustomization.yaml': `resources:\n${names.map((name) => `- ${name}.yaml\n`).join('')}`,
    ...Object.fromEntries(files),
  };
}

/** Codes that a build may end with when it is too much: which bound it meets first depends on the machine. */
const TOO_MUCH = ['TimeLimit', 'MemoryLimit', 'TooLarge'];

interface HostileCase {
  readonly title: string;
  readonly codes: readonly string[];
  readonly files: () => Files;
  readonly path?: string;
  readonly endless?: true;
}

const CASES: readonly HostileCase[] = [
  {
    title: 'aliases that multiply in a resource',
    codes: [...TOO_MUCH, 'BuildFailed'],
    files: () => resource(`data:\n${bomb('  ', 12)}`),
  },
  {
    title: 'aliases that multiply in a kustomization',
    codes: ['BuildFailed'],
    files: () => ({ 'kustomization.yaml': bomb('', 12) }),
  },
  { title: 'nesting of 100,000 levels', codes: ['BuildFailed'], files: () => resource(`data: ${nested('[', ']', 100_000)}\n`) },
  {
    title: 'nesting of 10,000 levels in JSON',
    codes: ['BuildFailed', ...TOO_MUCH],
    files: () => resource(`data: ${nested('{"a":', '}', 10_000)}`),
    endless: true,
  },
  {
    title: 'nesting of 9,990 levels in a kustomization',
    codes: ['BuildFailed', ...TOO_MUCH],
    files: () => ({ 'kustomization.yaml': `resources: ${nested('[', ']', 9_990)}\n` }),
  },
  { title: 'a file of 100 MB', codes: ['TooLarge'], files: () => resource(`data: {x: ${'y'.repeat(100_000_000)}}\n`) },
  {
    title: 'a file that is allowed and takes more memory than there is',
    codes: ['MemoryLimit'],
    files: () => resource(MEMORY_HOG),
  },
  { title: 'a build that never ends', codes: TOO_MUCH, files: () => doubling(30), path: 'l30', endless: true },
  {
    title: 'bases in a circle',
    codes: ['BuildFailed'],
    files: () => ({ 'a/kustomization.yaml': 'resources: [../b]\n', 'b/kustomization.yaml': 'resources: [../a]\n' }),
    path: 'a',
  },
  {
    title: 'a path out of the tree',
    codes: ['OutsideTree'],
    files: () => ({ 'a/kustomization.yaml': 'resources: [../../etc/passwd]\n' }),
    path: 'a',
  },
];

it.each(CASES)(
  '$title: ends with a typed error, and the next build works',
  async ({ codes, files, path, endless }) => {
    const used = endless ? impatient : kustomize;
    const failure = await failureOf(files(), path, used);
    expect(codes).toContain(failure.code);
    expect(failure.message.length).toBeLessThan(5_000);
    const { yaml } = await used.build({ files: resource('data: {b: c}\n') });
    expect(yaml).toBe('apiVersion: v1\ndata:\n  b: c\nkind: ConfigMap\nmetadata:\n  name: a\n');
  },
  5 * MINUTES,
);

it('takes nesting as deep as upstream does', async () => {
  const { yaml } = await kustomize.build({ files: resource(`data: {x: ${nested('[', ']', 3_000)}}\n`) });
  expect(yaml.split('- ').length).toBe(3_000);
});

it.each([
  ['path with NUL', { path: 'a\0b', files: {} }, 'InvalidPath'],
  ['path with a line feed', { path: 'a\nb', files: {} }, 'KustomizationNotFound'],
  ['path out of the tree', { path: '../a', files: {} }, 'OutsideTree'],
  ['file name with NUL', { files: { 'a\0': '' } }, 'InvalidPath'],
  ['file name out of the tree', { files: { '../a': '' } }, 'OutsideTree'],
])('a %s is refused', async (_, options, code) => {
  await expect(kustomize.build(options)).rejects.toMatchObject({ name: 'KustomizeError', code });
});

it('more files than may be looked for end a build', async () => {
  await using strict = new Kustomize({ workers: 1, limits: { ...LIMITS, maxFiles: 50 } });
  const failure = await failureOf(manyFiles(60), '.', strict);
  expect(failure.code).toBe('TooLarge');
});

it(
  'a build that is ended takes no other one with it',
  async () => {
    await using pool = new Kustomize({ workers: 2, limits: { ...LIMITS, timeMs: 3_000 } });
    const good = { files: resource('data: {b: c}\n') };
    const results = await Promise.allSettled([
      pool.build({ files: doubling(30), path: 'l30' }),
      ...Array.from({ length: 20 }, () => pool.build(good)),
      pool.build({ files: resource(MEMORY_HOG) }),
      pool.build(good),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', ...Array(20).fill('fulfilled'), 'rejected', 'fulfilled']);
  },
  5 * MINUTES,
);

it(
  'many builds take no more memory than a few',
  async () => {
    const build = async (): Promise<void> => {
      for (let round = 0; round < 60; round += 1)
        await kustomize.build({
          files: { ...resource('data: {b: c}\n'), 'kustomization.yaml': 'resources: [a.yaml]\nnamePrefix: p-\n' },
        });
    };
    await build();
    const before = process.memoryUsage().rss;
    await build();
    await build();
    expect(process.memoryUsage().rss - before).toBeLessThan(80 << 20);
  },
  5 * MINUTES,
);
