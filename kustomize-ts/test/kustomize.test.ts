import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuildOptions, filesOfDirectory, Kustomize, KustomizeError } from 'kustomize-ts';

const kustomize = new Kustomize({ workers: 2 });
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kustomize-ts-'));
});

afterAll(async () => {
  await kustomize.close();
  await rm(folder, { recursive: true, force: true });
});

const CONFIG_MAP = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n';
const FILES = {
  'base/kustomization.yaml': 'resources: [a.yaml]\n',
  'base/a.yaml': CONFIG_MAP,
  'over/kustomization.yaml': 'resources: [../base]\nnamePrefix: p-\ncommonLabels: {x: z}\n',
  'over/unused.yaml': 'never: read\n',
};

/** As a caller would, who fetches files from elsewhere. */
function readFrom(files: Readonly<Record<string, string>>, read: string[] = []): BuildOptions['readFile'] {
  const folders = new Set(Object.keys(files).map((path) => path.slice(0, path.lastIndexOf('/'))));
  return async (path) => {
    read.push(path);
    const content = files[path];
    if (content !== undefined) return content;
    throw Object.assign(new Error(path), { code: folders.has(path) || path === '.' ? 'EISDIR' : 'ENOENT' });
  };
}

it('says which files were read, which were looked for, and what upstream warns of', async () => {
  const result = await kustomize.build({ files: FILES, path: 'over' });
  expect(result.yaml).toBe('apiVersion: v1\nkind: ConfigMap\nmetadata:\n  labels:\n    x: z\n  name: p-a\n');
  expect(result.files.toSorted()).toEqual(['base/a.yaml', 'base/kustomization.yaml', 'over/kustomization.yaml']);
  expect(result.missing.toSorted()).toEqual([
    'base/Kustomization',
    'base/kustomization.yml',
    'over/Kustomization',
    'over/kustomization.yml',
  ]);
  expect(result.warnings).toEqual([expect.stringContaining("'commonLabels' is deprecated")]);
});

it('gives objects in the order of the YAML', async () => {
  const files = {
    'kustomization.yaml': 'resources: [a.yaml]\n',
    'a.yaml': `${CONFIG_MAP}---\napiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n`,
  };
  const { objects } = await kustomize.buildObjects({ files });
  expect(objects).toEqual([
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'n' } },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' } },
  ]);
});

it('asks for each file once, and only for what upstream asks for', async () => {
  const asked: string[] = [];
  const lazily = await kustomize.build({ readFile: readFrom(FILES, asked), path: 'over' } as BuildOptions);
  expect(lazily).toEqual(await kustomize.build({ files: FILES, path: 'over' }));
  expect(asked).toHaveLength(new Set(asked).size);
  expect(asked).not.toContain('over/unused.yaml');
});

it('takes files as bytes, by a map, under paths that are not tidy', async () => {
  const files = new Map([
    ['./a//kustomization.yaml', Buffer.from('resources: [b.yaml]\n')],
    ['a/b.yaml', Buffer.from(CONFIG_MAP)],
  ]);
  expect((await kustomize.build({ files, path: '/a/./' })).yaml).toBe(CONFIG_MAP);
});

it('ends with what reading a file ended with', async () => {
  const lost = new Error('the connection is gone');
  const readFile = async (path: string): Promise<string> => {
    if (path.endsWith('a.yaml')) throw lost;
    return await (readFrom(FILES) as (path: string) => Promise<string>)(path);
  };
  await expect(kustomize.build({ readFile, path: 'over' })).rejects.toBe(lost);
});

it('does not count the time that reading takes', async () => {
  await using quick = new Kustomize({ workers: 1, limits: { timeMs: 10_000 } });
  let release: (() => void) | undefined;
  const slow = async (path: string): Promise<string> => {
    if (path === 'base/a.yaml') await new Promise<void>((resolve) => void (release = () => setTimeout(resolve, 11_000)));
    return await (readFrom(FILES) as (path: string) => Promise<string>)(path);
  };
  const building = quick.build({ readFile: slow, path: 'over' });
  while (release === undefined) await new Promise((resolve) => setImmediate(resolve));
  release();
  expect((await building).yaml).toContain('p-a');
});

describe('a signal', () => {
  it('that has fired keeps a build from starting', async () => {
    const reason = new Error('no');
    await expect(kustomize.build({ files: FILES, path: 'over' }, AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  it('ends a build that waits for a file, and tells the reader', async () => {
    const abort = new AbortController();
    const told = Promise.withResolvers<void>();
    const readFile = (_: string, signal: AbortSignal): Promise<string> =>
      new Promise(() => {
        signal.addEventListener('abort', () => told.resolve(), { once: true });
        abort.abort(new Error('enough'));
      });
    await expect(kustomize.build({ readFile }, abort.signal)).rejects.toThrow('enough');
    await told.promise;
  });

  it('ends a build that waits for its turn, and no other', async () => {
    await using one = new Kustomize({ workers: 1 });
    const abort = new AbortController();
    const first = one.build({ files: FILES, path: 'over' });
    const second = one.build({ files: FILES, path: 'over' }, abort.signal);
    const third = one.build({ files: FILES, path: 'base' });
    abort.abort(new Error('not needed'));
    await expect(second).rejects.toThrow('not needed');
    expect((await first).yaml).toContain('p-a');
    expect((await third).yaml).toBe(CONFIG_MAP);
  });

  it('ends a build that calculates', async () => {
    // Each level is built twice by the one above it: there is nothing more to read after the first way down.
    const files: Record<string, string> = { 'l0/kustomization.yaml': 'resources: [a.yaml]\n', 'l0/a.yaml': CONFIG_MAP };
    for (let level = 1; level <= 25; level += 1) {
      for (const side of ['a', 'b'])
        files[`l${level}${side}/kustomization.yaml`] = `namePrefix: ${side}-\nresources: [../l${level - 1}]\n`;
      files[`l${level}/kustomization.yaml`] = `resources: [../l${level}a, ../l${level}b]\n`;
    }
    const abort = new AbortController();
    const readFile = async (path: string): Promise<string> => {
      if (path === 'l1b/kustomization.yaml') setImmediate(() => abort.abort(new Error('stop')));
      return await (readFrom(files) as (path: string) => Promise<string>)(path);
    };
    await expect(kustomize.build({ readFile, path: 'l25' }, abort.signal)).rejects.toThrow('stop');
  });
});

it('ends all builds when it is closed, and takes no more', async () => {
  const closing = new Kustomize({ workers: 1 });
  const building = closing.build({ files: FILES, path: 'over' });
  const closed = closing.close();
  await expect(building).rejects.toThrow('Kustomize was closed');
  await closed;
  await expect(closing.build({ files: FILES })).rejects.toThrow('Kustomize was closed');
});

describe('the files of a directory', () => {
  it('are read as they are asked for', async () => {
    const root = join(folder, 'tree');
    for (const [path, content] of Object.entries(FILES)) {
      await mkdir(join(root, path, '..'), { recursive: true });
      await writeFile(join(root, path), content);
    }
    expect((await kustomize.build({ readFile: filesOfDirectory(root), path: 'over' })).yaml).toContain('p-a');
  });

  it.each([
    ['a file', 'k/secret.yaml', 'k/secret.yaml'],
    ['a folder', 'k/secrets', 'k/secrets/x.yaml'],
  ])('are refused behind a symbolic link to %s', async (_, link, resource) => {
    const root = await mkdtemp(join(folder, 'links-'));
    const outside = join(folder, 'outside');
    await mkdir(join(root, 'k'), { recursive: true });
    await mkdir(outside, { recursive: true });
    await writeFile(join(outside, 'x.yaml'), CONFIG_MAP);
    await symlink(resource === link ? join(outside, 'x.yaml') : outside, join(root, link));
    await writeFile(join(root, 'k/kustomization.yaml'), `resources: [${resource.slice(2)}]\n`);
    await expect(kustomize.build({ readFile: filesOfDirectory(root), path: 'k' })).rejects.toMatchObject({
      code: 'SymbolicLink',
    });
  });
});

it.each([
  [{ workers: 0 }, 'workers'],
  [{ limits: { timeMs: 0 } }, 'limits.timeMs'],
  [{ limits: { memoryBytes: 1 << 20 } }, 'limits.memoryBytes'],
  [{ limits: { maxFiles: 1.5 } }, 'limits.maxFiles'],
])('options that cannot be are refused: %j', (options, name) => {
  expect(() => new Kustomize(options)).toThrow(name);
});

describe('decode', () => {
  it('reads documents with the decoder of kubectl', async () => {
    expect(await kustomize.decode('a: 0644\nb: yes\n---\n# nothing\n---\n{"c": 12345678901234567890}\n')).toBe(
      '[{"a":420,"b":true},{"c":12345678901234567890}]',
    );
  });

  it('says what is wrong', async () => {
    const error: unknown = await kustomize.decode('a: b: c\n').catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(KustomizeError);
    expect((error as KustomizeError).message).toContain('mapping values are not allowed');
  });
});

test('files that cannot be handed to a thread are refused, without a fault that nobody catches', async () => {
  const faults: unknown[] = [];
  const onFault = (fault: unknown): unknown => faults.push(fault);
  process.on('unhandledRejection', onFault);
  const files = { 'kustomization.yaml': (() => '') as unknown as string };
  await expect(kustomize.build({ files })).rejects.toMatchObject({ name: 'DataCloneError' });
  await new Promise((resolve) => setImmediate(resolve));
  process.off('unhandledRejection', onFault);
  expect(faults).toEqual([]);
  const good = { 'kustomization.yaml': 'resources: [a.yaml]\n', 'a.yaml': CONFIG_MAP };
  expect((await kustomize.build({ files: good })).yaml).toBe(CONFIG_MAP);
});
