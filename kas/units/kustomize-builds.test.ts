import { rename } from 'node:fs/promises';
import { Kustomize } from 'kustomize-ts';
import { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import { type Files, GitalyFixture, type Repository } from '../gitaly/gitaly-fixture.ts';
import { BlobCache } from './blob-cache.ts';
import { TreeListings } from './tree-listings.ts';
import { type Rendering, UnitRenderer } from './unit-renderer.ts';

const RATE = { refillPerSecond: 10_000, bucketSize: 10_000 };
const LIMITS = { maxFileBytes: 1 << 20, maxTotalBytes: 4 << 20, maxPaths: 100, maxFiles: 1_000 };
const { signal } = new AbortController();

let fixture: GitalyFixture;
let pool: GitalyClientPool;
let kustomize: Kustomize;
let repository: Repository;
let count = 0;
let builds: (string | undefined)[];

beforeAll(async () => {
  fixture = await GitalyFixture.start();
  pool = new GitalyClientPool({ globalRateLimit: RATE, perServerRateLimit: RATE });
  kustomize = new Kustomize({ workers: 1, limits: { timeMs: 20_000 } });
});

beforeEach(async () => {
  repository = await fixture.create(`project-${(count += 1)}`);
  builds = [];
});

afterAll(async () => {
  await kustomize.close();
  pool.close();
  await fixture[Symbol.asyncDispose]();
});

function renderer(): UnitRenderer {
  return new UnitRenderer({
    listings: new TreeListings(1 << 20),
    metrics: { rendered: () => undefined },
    gitaly: pool,
    limits: LIMITS,
    cache: new BlobCache(8 << 20),
    kustomize: {
      build: async (options, scope) => {
        builds.push(options.path);
        return await kustomize.build(options, scope);
      },
    },
  });
}

async function render(globs: readonly string[], files: Files): Promise<Rendering> {
  return await renderCommit(renderer(), globs, await repository.push(files), undefined);
}

async function renderCommit(
  used: UnitRenderer,
  globs: readonly string[],
  commit: string,
  previous: Rendering | undefined,
): Promise<Rendering> {
  const request = { project: fixture.project(`project-${count}`), ref: undefined, globs, defaultNamespace: 'default' };
  return await used.render(request, commit, previous, signal);
}

function names({ bundle }: Rendering): string[] | undefined {
  return bundle?.objects.map(({ id }) => id.name);
}

function configMap(name: string): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n`;
}

const SHOP: Files = {
  'base/kustomization.yaml': 'resources: [a.yaml, sub/b.yaml]\n',
  'base/a.yaml': configMap('a'),
  'base/sub/b.yaml': configMap('b'),
  'base/unused.yaml': configMap('unused'),
  'overlays/prod/kustomization.yaml': 'resources: [../../base]\nnamePrefix: prod-\n',
  'overlays/test/kustomization.yaml': 'resources: [../../base]\nnamePrefix: test-\n',
};

test('the unit is what the kustomization of the named folder builds', async () => {
  const rendering = await render(['overlays/prod/'], SHOP);
  expect(rendering.problems).toEqual([]);
  expect(names(rendering)).toEqual(['prod-a', 'prod-b']);
  expect(rendering.bundle?.objects[0]?.source).toBe('overlays/prod/kustomization.yaml');
  expect(builds).toEqual(['overlays/prod']);
});

test('the root of the repository can be the folder', async () => {
  const rendering = await render(['./'], { 'kustomization.yml': 'resources: [a.yaml]\n', 'a.yaml': configMap('a') });
  expect(names(rendering)).toEqual(['a']);
});

test.each([
  ['a glob that matches folders', ['overlays/*'], ['prod-a', 'prod-b', 'test-a', 'test-b']],
  ['a glob that matches one folder', ['overlays/prod'], ['prod-a', 'prod-b']],
  ['a glob that matches kustomization files', ['overlays/*/*.yaml'], ['prod-a', 'prod-b', 'test-a', 'test-b']],
  ['the default glob, which leaves out what others build on', ['**/*.{yaml,yml,json}'], ['prod-a', 'prod-b', 'test-a', 'test-b']],
])('%s builds', async (_, globs, expected) => {
  const rendering = await render(globs, SHOP);
  expect(rendering.problems).toEqual([]);
  expect(names(rendering)).toEqual(expected);
});

test('plain files beside kustomizations are taken as they are, those of a kustomization are not', async () => {
  const rendering = await render(['**/*.yaml'], {
    'plain/c.yaml': configMap('c'),
    'app/kustomization.yaml': 'resources: [d.yaml, parts]\n',
    'app/d.yaml': configMap('d'),
    'app/not-named.yaml': configMap('not-named'),
    'app/parts/kustomization.yaml': 'resources: [e.yaml]\n',
    'app/parts/e.yaml': configMap('e'),
  });
  expect(rendering.problems).toEqual([]);
  expect(names(rendering)).toEqual(['c', 'd', 'e']);
});

test('kustomizations that build on each other are an error, whatever else there is', async () => {
  const rendering = await render(['**/*.yaml'], {
    'a/kustomization.yaml': 'resources: [../b]\n',
    'b/kustomization.yaml': 'resources: [../a]\n',
    'c/kustomization.yaml': 'resources: [c.yaml]\n',
    'c/c.yaml': configMap('c'),
  });
  expect(rendering.bundle).toBeUndefined();
  expect(rendering.problems).toMatchObject([{ severity: 'error' }, { severity: 'error' }]);
});

test('what is built has the size limit that files have together', async () => {
  const text = 'x'.repeat(900_000);
  const layer = (base: string): string => `resources: [${base}/a, ${base}/b]\n`;
  const rendering = await render(['top/'], {
    'top/kustomization.yaml': layer('.'),
    'top/a/kustomization.yaml': 'resources: [../mid]\nnamePrefix: a-\n',
    'top/b/kustomization.yaml': 'resources: [../mid]\nnamePrefix: b-\n',
    'top/mid/kustomization.yaml': 'resources: [a, b, c]\n',
    ...Object.fromEntries(
      ['a', 'b', 'c'].flatMap((name) => [[`top/mid/${name}/kustomization.yaml`, `resources: [../base]\nnamePrefix: ${name}-\n`]]),
    ),
    'top/mid/base/kustomization.yaml': 'resources: [x.yaml]\n',
    'top/mid/base/x.yaml': `${configMap('x')}data: {text: ${text}}\n`,
  });
  expect(rendering.bundle).toBeUndefined();
  expect(rendering.problems).toMatchObject([{ reason: 'TotalSizeExceeded', file: 'top/kustomization.yaml' }]);
});

test('one object from two kustomizations is an error that names both', async () => {
  const rendering = await render(['a/', 'b/'], {
    'a/kustomization.yaml': 'resources: [c.yaml]\n',
    'a/c.yaml': configMap('same'),
    'b/kustomization.yaml': 'resources: [c.yaml]\n',
    'b/c.yaml': configMap('same'),
  });
  expect(rendering.bundle).toBeUndefined();
  expect(rendering.problems).toEqual([
    {
      severity: 'error',
      reason: 'DuplicateObject',
      message: expect.stringContaining('a/kustomization.yaml and again at b/kustomization.yaml'),
      file: 'b/kustomization.yaml',
      object: expect.stringContaining('same'),
    },
  ]);
});

test('a commit that touches nothing that was read builds nothing', async () => {
  const used = renderer();
  const first = await renderCommit(used, ['overlays/prod/'], await repository.push(SHOP), undefined);
  const elsewhere = await repository.push({ 'README.md': 'x', 'base/unused.yaml': 'y', 'overlays/test/kustomization.yaml': 'z' });
  const second = await renderCommit(used, ['overlays/prod/'], elsewhere, first);
  expect(second).toBe(first);
  expect(builds).toHaveLength(1);

  const third = await renderCommit(
    used,
    ['overlays/prod/'],
    await repository.push({ 'base/sub/b.yaml': configMap('c') }),
    second,
  );
  expect(names(third)).toEqual(['prod-a', 'prod-c']);
  expect(builds).toHaveLength(2);
});

test('a file that appears where one was looked for counts', async () => {
  const used = renderer();
  const first = await renderCommit(used, ['overlays/prod/'], await repository.push(SHOP), undefined);
  const second = await renderCommit(used, ['overlays/prod/'], await repository.push({ 'base/kustomization.yml': '' }), first);
  expect(second.problems).toMatchObject([{ severity: 'error', reason: 'KustomizeBuildFailed', file: 'base' }]);
  expect(second.bundle).toBeUndefined();
});

test('an error names the file, the field and the object', async () => {
  const rendering = await render(['overlays/prod/'], {
    ...SHOP,
    'overlays/prod/kustomization.yaml': `resources: [../../base]\npatches:\n- patch: |-\n    ${configMap('gone').replaceAll('\n', '\n    ')}\n`,
  });
  expect(rendering.bundle).toBeUndefined();
  expect(rendering.problems).toEqual([
    {
      severity: 'error',
      reason: 'KustomizeBuildFailed',
      message: expect.stringMatching(/^patches: .*no matches for Id/),
      file: 'overlays/prod/kustomization.yaml',
      object: 'ConfigMap.v1.[noGrp]/gone.[noNs]',
    },
  ]);
});

test('a failing build is built again only when something that it read changed', async () => {
  const used = renderer();
  const first = await renderCommit(
    used,
    ['over/'],
    await repository.push({ 'over/kustomization.yaml': 'resources: [a.yaml]\n' }),
    undefined,
  );
  expect(first.problems).toMatchObject([{ reason: 'KustomizeFileNotFound', file: 'over/kustomization.yaml' }]);
  const attempts = builds.length;
  expect(await renderCommit(used, ['over/'], await repository.push({ 'other.txt': 'x' }), first)).toBe(first);
  expect(builds).toHaveLength(attempts);
  const mended = await renderCommit(used, ['over/'], await repository.push({ 'over/a.yaml': configMap('a') }), first);
  expect(names(mended)).toEqual(['a']);
});

test.each<[string, string, Files]>([
  ['KustomizationNotFound', 'nowhere/', SHOP],
  ['KustomizeRemoteResource', 'a/', { 'a/kustomization.yaml': 'resources: [github.com/owner/repository]\n' }],
  ['KustomizeSymbolicLink', 'a/', { 'a/kustomization.yaml': 'resources: [b.yaml]\n', 'a/b.yaml': { linkTo: '../c.yaml' } }],
  [
    'KustomizeSymbolicLink',
    'a/',
    { 'a/kustomization.yaml': 'resources: [b/c.yaml]\n', 'a/b': { linkTo: '../c' }, 'c/c.yaml': 'x' },
  ],
  ['KustomizeOutsideTree', 'a/', { 'a/kustomization.yaml': 'resources: [../../etc]\n' }],
  ['FileTooLarge', 'a/', { 'a/kustomization.yaml': 'resources: [b.yaml]\n', 'a/b.yaml': 'x'.repeat(2 << 20) }],
])('%s is a problem of the unit', async (reason, glob, files) => {
  const rendering = await render([glob], files);
  expect(rendering.problems).toMatchObject([{ severity: 'error', reason }]);
  expect(rendering.bundle).toBeUndefined();
});

test('warnings about deprecated fields do not keep a unit from being built', async () => {
  const rendering = await render(['a/'], {
    'a/kustomization.yaml': 'commonLabels: {x: z}\nresources: [b.yaml]\n',
    'a/b.yaml': configMap('b'),
  });
  expect(names(rendering)).toEqual(['b']);
  expect(rendering.problems).toMatchObject([
    {
      severity: 'warning',
      reason: 'KustomizeWarning',
      file: 'a/kustomization.yaml',
      message: expect.stringContaining('commonLabels'),
    },
  ]);
});

test('a repository that is away is not taken for missing files', async () => {
  const commit = await repository.push(SHOP);
  await rename(repository.path, `${repository.path}.away`);
  await expect(renderCommit(renderer(), ['overlays/prod/'], commit, undefined)).rejects.toMatchObject({
    reason: 'CommitNotFound',
  });
});
