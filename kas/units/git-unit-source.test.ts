import { Writable } from 'node:stream';
import { Kustomize } from 'kustomize-ts';
import { newestIn } from '../../lib/broadcast.ts';
import { createLogger } from '../../lib/log.ts';
import { InProcessPollQueue } from '../change-detection/in-process-poll-queue.ts';
import { RefWatcher } from '../change-detection/ref-watcher.ts';
import type { ManifestLimits } from '../config/kas-config.ts';
import { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import { type Files, GitalyFixture, type Repository, until } from '../gitaly/gitaly-fixture.ts';
import { BlobCache, ENTRY_BYTES } from './blob-cache.ts';
import { GitUnitSource } from './git-unit-source.ts';
import { TreeListings } from './tree-listings.ts';
import { UnitRenderer } from './unit-renderer.ts';
import type { UnitRequest, UnitSnapshot } from './unit-source.ts';

const HOUR_MS = 3_600_000;
const LIMITS: ManifestLimits = { maxFileBytes: 5 << 20, maxTotalBytes: 20 << 20, maxPaths: 100, maxFiles: 20_000 };
const RATE = { refillPerSecond: 1000, bucketSize: 1000 };

let fixture: GitalyFixture;
let count = 0;

beforeAll(async () => {
  fixture = await GitalyFixture.start();
});

afterAll(async () => {
  await fixture[Symbol.asyncDispose]();
});

function configMap(name: string, value: string, namespace = 'demo'): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n  namespace: ${namespace}\ndata:\n  key: ${value}\n`;
}

/** Everything between the git server and an agent's session, for one unit. */
class Line implements AsyncDisposable {
  readonly path: string;
  readonly repository: Repository;
  readonly snapshots: UnitSnapshot[] = [];
  readonly log: Record<string, unknown>[] = [];
  readonly cache = new BlobCache(64 << 20);
  readonly #pool = new GitalyClientPool({ globalRateLimit: RATE, perServerRateLimit: RATE });
  readonly #stop = new AbortController();
  readonly #kustomize = new Kustomize({ workers: 1 });
  readonly #refs: RefWatcher;
  readonly #source: GitUnitSource;
  readonly #watches: Promise<void>[] = [];

  constructor(
    path: string,
    repository: Repository,
    options: { limits?: Partial<ManifestLimits>; pollPeriodMs?: number; lingerMs?: number },
  ) {
    this.path = path;
    this.repository = repository;
    const sink = new Writable({ write: (chunk, _, done) => done(void this.log.push(JSON.parse(String(chunk)))) });
    const log = createLogger('test', 'info', sink);
    this.#refs = new RefWatcher({
      gitaly: this.#pool,
      createQueue: (polls) => new InProcessPollQueue({ ...polls, concurrency: 8, log }),
    });
    this.#source = new GitUnitSource({
      refs: this.#refs,
      renderer: new UnitRenderer({
        listings: new TreeListings(1 << 20),
        metrics: { rendered: () => undefined },
        gitaly: this.#pool,
        limits: { ...LIMITS, ...options.limits },
        cache: this.cache,
        kustomize: this.#kustomize,
      }),
      pollPeriodMs: options.pollPeriodMs ?? HOUR_MS,
      lingerMs: options.lingerMs ?? 0,
      log,
    });
  }

  static async start(files: Files | undefined, options: ConstructorParameters<typeof Line>[2] = {}): Promise<Line> {
    const path = `units/project-${(count += 1)}`;
    const line = new Line(path, await fixture.create(path), options);
    if (files !== undefined) await line.repository.push(files);
    return line;
  }

  get newest(): UnitSnapshot | undefined {
    return this.snapshots.at(-1);
  }

  watch(request: Partial<UnitRequest> = {}, into = this.snapshots, signal = this.#stop.signal): Promise<void> {
    const full = {
      project: fixture.project(this.path),
      ref: undefined,
      globs: ['**/*.yaml'],
      defaultNamespace: 'default',
      ...request,
    };
    const watching = (async () => {
      const snapshots = newestIn<UnitSnapshot>((subscriber) => this.#source.subscribe(full, subscriber), signal);
      for await (const snapshot of snapshots) into.push(snapshot);
    })();
    this.#watches.push(watching);
    return watching;
  }

  /** Pushes and says so, as the git server does. */
  async push(files: Files, branch?: string): Promise<string> {
    const commit = await this.repository.push(files, branch);
    await this.notify();
    return commit;
  }

  async notify(): Promise<void> {
    await this.#refs.notifyPush({ project: this.path });
  }

  async at(commit: string): Promise<UnitSnapshot> {
    await until(() => this.newest?.commitId === commit);
    return this.newest as UnitSnapshot;
  }

  async withProblem(reason: string): Promise<UnitSnapshot> {
    await until(() => this.newest?.problems.some((problem) => problem.reason === reason) ?? false);
    return this.newest as UnitSnapshot;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#source.close();
    await Promise.all(this.#watches);
    await this.#refs.close();
    await this.#kustomize.close();
    this.#pool.close();
  }
}

function names(snapshot: UnitSnapshot | undefined): string[] | undefined {
  return snapshot?.rendered?.bundle.objects.map(({ id }) => id.name);
}

function reasons(snapshot: UnitSnapshot | undefined): string[] | undefined {
  return snapshot?.problems.map((problem) => problem.reason);
}

test('a commit becomes a bundle, a new one replaces it and each is logged once', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1'), 'deep/b.yaml': configMap('b', '1') });
  void line.watch();
  await until(() => line.newest !== undefined);
  expect(names(line.newest)).toEqual(['a', 'b']);
  expect(line.newest).toMatchObject({ ref: 'refs/heads/main', problems: [] });
  expect(line.newest?.rendered?.bundle.objects[1]?.source).toBe('deep/b.yaml:1');

  const second = await line.push({ 'a.yaml': configMap('a', '2') });
  const snapshot = await line.at(second);
  expect(snapshot.rendered?.commitId).toBe(second);
  expect(JSON.parse(String(snapshot.rendered?.bundle.objects[0]?.content))).toMatchObject({ data: { key: 2 } });
  const logged = line.log.filter(({ msg }) => msg === 'New commit rendered');
  expect(logged).toHaveLength(2);
  expect(logged[1]).toMatchObject({
    level: 'info',
    project: line.path,
    ref: 'refs/heads/main',
    commit: second,
    objects: 2,
    digest: snapshot.rendered?.bundle.digest,
  });
});

test('a poll finds a commit that nobody announced', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1') }, { pollPeriodMs: 200 });
  void line.watch();
  await until(() => line.newest !== undefined);
  const commit = await line.repository.push({ 'a.yaml': configMap('a', '2') });
  expect((await line.at(commit)).rendered?.commitId).toBe(commit);
});

test('from notification to snapshot a small unit takes little time', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '0') });
  void line.watch();
  await until(() => line.newest !== undefined);
  const times: number[] = [];
  for (let round = 1; round <= 10; round += 1) {
    const commit = await line.repository.push({ 'a.yaml': configMap('a', String(round)) });
    const start = performance.now();
    await line.notify();
    await line.at(commit);
    times.push(performance.now() - start);
  }
  // Typically under 20 ms; the bound leaves room for a busy machine.
  expect(Math.min(...times)).toBeLessThan(100);
});

test('a commit that changes nothing in the unit keeps the very bundle', async () => {
  await using line = await Line.start({ 'in/a.yaml': configMap('a', '1') });
  void line.watch({ globs: ['in/**/*.yaml'] });
  await until(() => line.newest !== undefined);
  const before = line.newest?.rendered?.bundle;
  const commit = await line.push({ 'README.md': 'hello' });
  const after = await line.at(commit);
  expect(after.rendered?.commitId).toBe(commit);
  expect(after.rendered?.bundle).toBe(before);
  // Nor does one that changes the text and not the meaning.
  const comment = await line.push({ 'in/a.yaml': `${configMap('a', '1')}# a comment\n` });
  expect((await line.at(comment)).rendered?.bundle).toBe(before);
});

test('many watchers of one unit share one rendering, and it is read once', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1') });
  const all: UnitSnapshot[][] = Array.from({ length: 50 }, () => []);
  for (const into of all) void line.watch({}, into);
  await until(() => all.every((into) => into.length > 0));
  const commit = await line.push({ 'a.yaml': configMap('a', '2') });
  await until(() => all.every((into) => into.at(-1)?.commitId === commit));
  expect(new Set(all.map((into) => into.at(-1)?.rendered?.bundle)).size).toBe(1);
  expect(line.log.filter(({ msg }) => msg === 'New commit rendered')).toHaveLength(2);
});

test('units with another default namespace judge duplicates for themselves', async () => {
  await using line = await Line.start({
    'a.yaml': configMap('a', '1', 'one'),
    'b.yaml': configMap('a', '1').replace('  namespace: demo\n', ''),
  });
  const other: UnitSnapshot[] = [];
  void line.watch({ defaultNamespace: 'one' });
  void line.watch({ defaultNamespace: 'two' }, other);
  await until(() => line.newest !== undefined && other.length > 0);
  expect(reasons(line.newest)).toEqual(['DuplicateObject']);
  expect(names(other.at(-1))).toEqual(['a', 'a']);
});

test.each([
  ['a tab', 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: x\n', { reason: 'InvalidYaml', file: 'bad.yaml', line: 4 }],
  ['no kind', 'apiVersion: v1\nmetadata:\n  name: x\n', { reason: 'MissingKind', file: 'bad.yaml' }],
])('a manifest with %s is a problem with its place, and what was good stays', async (_, content, problem) => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1') });
  void line.watch();
  await until(() => line.newest !== undefined);
  const good = line.newest?.rendered;

  const bad = await line.push({ 'bad.yaml': content, 'a.yaml': configMap('a', '2') });
  const broken = await line.at(bad);
  expect(broken.problems).toMatchObject([{ severity: 'error', ...problem }]);
  expect(broken.rendered).toEqual(good);
  expect(line.log.at(-1)).toMatchObject({ msg: 'Unit has problems', level: 'warn', commit: bad, ...problem });

  const fixed = await line.at(await line.push({ 'bad.yaml': null }));
  expect(fixed.problems).toEqual([]);
  expect(fixed.rendered?.commitId).toBe(fixed.commitId);
});

test('a first commit that is broken leaves nothing to apply', async () => {
  await using line = await Line.start({ 'a.yaml': 'kind: [' });
  void line.watch();
  await until(() => line.newest !== undefined);
  expect(line.newest?.rendered).toBeUndefined();
  expect(line.newest?.problems[0]).toMatchObject({ severity: 'error', file: 'a.yaml' });
});

test('files over the limit are named, all of them, with the remedy', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1') }, { limits: { maxFileBytes: 1000 } });
  void line.watch();
  await until(() => line.newest !== undefined);
  await line.push({ 'big.yaml': configMap('b', 'x'.repeat(2000)), 'huge.yaml': configMap('c', 'x'.repeat(200_000)) });
  const snapshot = await line.withProblem('FileTooLarge');
  expect(snapshot.problems.map(({ file }) => file)).toEqual(['big.yaml', 'huge.yaml']);
  expect(snapshot.problems[0]?.message).toMatch(/big\.yaml has 2\d{3} bytes, 1000 are allowed: .*max_manifest_file_size/);
  expect(names(snapshot)).toEqual(['a']);
});

test.each([
  [
    { maxTotalBytes: 300 },
    'TotalSizeExceeded',
    /more than 300 bytes together, reached at \w\.yaml: .*max_total_manifest_file_size/,
  ],
  [{ maxFiles: 3 }, 'TooManyFiles', /match 4 files, 3 are allowed: .*max_number_of_files/],
  [{ maxPaths: 1 }, 'TooManyPaths', /has 2 paths, 1 are allowed: .*max_number_of_paths/],
])('the limit %j refuses the unit', async (limits, reason, message) => {
  const files = Object.fromEntries(['a', 'b', 'c', 'd'].map((name) => [`${name}.yaml`, configMap(name, '1')]));
  await using line = await Line.start({ ...files, 'README.md': 'not counted', 'sub/e.json': '{}' }, { limits });
  void line.watch({ globs: ['*.yaml', 'a.*'] });
  const snapshot = await line.withProblem(reason);
  expect(snapshot.problems[0]?.message).toMatch(message);
  expect(snapshot.rendered).toBeUndefined();
});

test('files with the same content count each for itself, before and after they are cached', async () => {
  const content = `${configMap('a', '1')}# ${'x'.repeat(500)}\n`;
  await using line = await Line.start({ 'a.yaml': content }, { limits: { maxTotalBytes: 1000 } });
  void line.watch();
  await until(() => names(line.newest)?.length === 1);
  await line.push({ 'b.yaml': content });
  expect(names(await line.withProblem('TotalSizeExceeded'))).toEqual(['a']);
});

test('only blobs that changed are read', async () => {
  const files = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`m/${index}.yaml`, configMap(`m-${index}`, '1')]));
  await using line = await Line.start(files);
  void line.watch();
  await until(() => line.newest !== undefined);
  const before = line.cache.bytes;
  const changed = configMap('m-7', '2');
  await line.at(await line.push({ 'm/7.yaml': changed }));
  expect(line.cache.bytes - before).toBe(Buffer.byteLength(changed) + ENTRY_BYTES);
});

test('a glob that matches nothing is a warning beside those that match', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1') });
  void line.watch({ globs: ['*.yaml', 'missing/**/*.yaml'] });
  await until(() => line.newest !== undefined);
  expect(line.newest?.problems).toMatchObject([{ severity: 'warning', reason: 'GlobMatchesNothing' }]);
  expect(names(line.newest)).toEqual(['a']);
  expect(line.newest?.rendered?.incomplete).toBe(true);
  await line.at(await line.push({ 'missing/b.yaml': configMap('b', '1') }));
  expect(line.newest?.rendered?.incomplete).toBe(false);
});

test('when no file matches any more, or none holds an object, what was good stays', async () => {
  await using line = await Line.start({ 'in/a.yaml': configMap('a', '1') });
  void line.watch({ globs: ['in/*.yaml'] });
  await until(() => line.newest !== undefined);
  const gone = await line.at(await line.push({ 'in/a.yaml': null, 'other.txt': 'x' }));
  expect(reasons(gone)).toEqual(['NothingToApply', 'GlobMatchesNothing']);
  expect(names(gone)).toEqual(['a']);
  const empty = await line.at(await line.push({ 'in/a.yaml': '# nothing here\n---\n' }));
  expect(reasons(empty)).toEqual(['NothingToApply']);
  expect(names(empty)).toEqual(['a']);
});

test('a symbolic link is left out with a warning', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1'), 'link.yaml': { linkTo: 'a.yaml' } });
  void line.watch();
  await until(() => line.newest !== undefined);
  expect(line.newest?.problems).toMatchObject([{ severity: 'warning', reason: 'SymbolicLinkIgnored', file: 'link.yaml' }]);
  expect(names(line.newest)).toEqual(['a']);

  const removed = await line.at(await line.push({ 'link.yaml': null }));
  expect(removed.problems).toEqual([]);
});

test('an empty repository is a problem until something is pushed', async () => {
  await using line = await Line.start(undefined);
  void line.watch();
  const empty = await line.withProblem('EmptyRepository');
  expect(empty).toMatchObject({ commitId: undefined, rendered: undefined });
  const commit = await line.push({ 'a.yaml': configMap('a', '1') });
  expect(names(await line.at(commit))).toEqual(['a']);
});

test('a repository that is not there is a problem until it is', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1') }, { pollPeriodMs: 200 });
  const path = `units/late-${count}`;
  void line.watch({ project: fixture.project(path) });
  expect((await line.withProblem('RepositoryNotFound')).rendered).toBeUndefined();
  const late = await fixture.create(path);
  await late.push({ 'b.yaml': configMap('b', '1') });
  await until(() => names(line.newest)?.[0] === 'b');
});

test.each([
  ['a branch', 'refs/heads/release', 'release'],
  ['the default branch', undefined, 'main'],
])('%s that is deleted is a problem, what was good stays, also when another branch is there', async (_, ref, branch) => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1') });
  await line.repository.push({ 'a.yaml': configMap('a', '1') }, 'release');
  await line.repository.push({ 'z.yaml': configMap('stranger', '1') }, 'feature');
  void line.watch({ ref });
  await until(() => line.newest !== undefined);
  await line.repository.git('update-ref', '-d', `refs/heads/${branch}`);
  await line.notify();
  const snapshot = await line.withProblem('RefNotFound');
  expect(snapshot.problems[0]?.message).toMatch(
    new RegExp(`Branch "${branch}" does not exist\\. The repository has the branches .*feature`),
  );
  expect(names(snapshot)).toEqual(['a']);
});

test('a commit named by its id is rendered, also when it comes later', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1') });
  const elsewhere = await fixture.create('units/elsewhere');
  const commit = await elsewhere.push({ 'b.yaml': configMap('b', '1') });
  void line.watch({ ref: commit });
  await line.withProblem('CommitNotFound');
  await line.repository.git('fetch', '--quiet', elsewhere.path, 'main:apart');
  await until(() => names(line.newest)?.[0] === 'b');
  expect(line.newest).toMatchObject({ ref: commit, commitId: commit, problems: [] });
});

test('while Gitaly is away the bundle stays; a commit made meanwhile is found afterwards', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1') });
  void line.watch();
  await until(() => line.newest !== undefined);
  const good = line.newest;
  await fixture.stopServer();
  await line.notify();
  const away = await line.withProblem('GitalyUnavailable');
  expect(away.rendered).toEqual(good?.rendered);
  await fixture.restartServer();
  await until(() => line.newest?.problems.length === 0);
  expect(line.newest).toEqual(good);

  await fixture.stopServer();
  await line.notify();
  await line.withProblem('GitalyUnavailable');
  const commit = await line.repository.push({ 'a.yaml': configMap('a', '2') });
  await fixture.restartServer();
  await line.at(commit);
});

test('of many pushes in a row the newest wins', async () => {
  const files = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`m/${index}.yaml`, configMap(`m-${index}`, '0')]));
  await using line = await Line.start(files);
  void line.watch();
  let last = '';
  for (let round = 1; round <= 5; round += 1) last = await line.push({ 'm/0.yaml': configMap('m-0', String(round)) });
  const snapshot = await line.at(last);
  expect(snapshot.rendered?.commitId).toBe(last);
  expect(snapshot.rendered?.bundle.objects).toHaveLength(300);
});

test('a watch ends with its signal, and a unit lingers for who comes back', async () => {
  await using line = await Line.start({ 'a.yaml': configMap('a', '1') }, { lingerMs: HOUR_MS });
  const first = new AbortController();
  const watching = line.watch({}, line.snapshots, first.signal);
  await until(() => line.newest !== undefined);
  first.abort();
  await watching;
  const again: UnitSnapshot[] = [];
  void line.watch({}, again);
  await until(() => again.length > 0);
  expect(again[0]).toBe(line.newest);
  expect(line.log.filter(({ msg }) => msg === 'New commit rendered')).toHaveLength(1);
});
