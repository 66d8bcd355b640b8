import { GitalyClientPool } from '../gitaly/gitaly-client-pool.ts';
import { GitalyFixture, type Repository } from '../gitaly/gitaly-fixture.ts';
import { listFiles } from './list-files.ts';
import { TreeListings } from './tree-listings.ts';

const UNLIMITED = { refillPerSecond: 1_000_000, bucketSize: 1_000_000 };
const signal = new AbortController().signal;

let fixture: GitalyFixture;
let repository: Repository;
let pool: GitalyClientPool;
let calls: string[];

beforeAll(async () => {
  fixture = await GitalyFixture.start();
});

afterAll(async () => {
  await fixture[Symbol.asyncDispose]();
});

beforeEach(async () => {
  calls = [];
  const metrics = { called: (method: string) => void calls.push(method), blobRead: () => undefined };
  pool = new GitalyClientPool({ globalRateLimit: UNLIMITED, perServerRateLimit: UNLIMITED, metrics });
});

afterEach(() => {
  pool.close();
});

const paths = async (listings: TreeListings, project: string, commit: string, glob: string): Promise<string[]> => {
  const location = fixture.location(project);
  const files = await listFiles(listings.of(pool.repository(location), location), commit, [glob], signal);
  return files.map(({ path }) => path).sort();
};

test('a commit costs a list of what is above the units and one of each folder that it changed, whoever asks', async () => {
  repository = await fixture.create('mono/one');
  const units = Array.from({ length: 20 }, (_, index) => `units/${index}`);
  const first = await repository.push(Object.fromEntries(units.map((unit) => [`${unit}/deep/a.yaml`, unit])));
  const listings = new TreeListings(1 << 20);
  for (const unit of units) expect(await paths(listings, 'mono/one', first, `${unit}/**`)).toEqual([`${unit}/deep/a.yaml`]);
  expect(calls).toHaveLength(1 + units.length);
  calls = [];
  const second = await repository.push({ 'units/7/deep/b.yaml': 'new' });
  const all = await Promise.all(units.map((unit) => paths(listings, 'mono/one', second, `${unit}/**`)));
  expect(all[7]).toEqual(['units/7/deep/a.yaml', 'units/7/deep/b.yaml']);
  expect(all[8]).toEqual(['units/8/deep/a.yaml']);
  expect(calls).toHaveLength(2);
});

test('a folder that comes, goes and comes back is listed as it is', async () => {
  repository = await fixture.create('mono/two');
  const listings = new TreeListings(1 << 20);
  const without = await repository.push({ 'other.yaml': 'x' });
  expect(await paths(listings, 'mono/two', without, 'app/**')).toEqual([]);
  const there = await repository.push({ 'app/a.yaml': '1' });
  expect(await paths(listings, 'mono/two', there, 'app/**')).toEqual(['app/a.yaml']);
  const gone = await repository.push({ 'app/a.yaml': null });
  expect(await paths(listings, 'mono/two', gone, 'app/**')).toEqual([]);
  expect(await paths(listings, 'mono/two', there, 'app/**')).toEqual(['app/a.yaml']);
});

test('who may list a commit of one repository cannot list it by way of another', async () => {
  repository = await fixture.create('mono/secret');
  await fixture.create('mono/mine');
  const commit = await repository.push({ 'app/secret.yaml': 'x' });
  const listings = new TreeListings(1 << 20);
  expect(await paths(listings, 'mono/secret', commit, 'app/**')).toEqual(['app/secret.yaml']);
  await expect(paths(listings, 'mono/mine', commit, 'app/**')).rejects.toMatchObject({ reason: 'CommitNotFound' });
});

test('what was used least recently leaves when there is no room', async () => {
  repository = await fixture.create('mono/many');
  const listings = new TreeListings(20_000);
  for (let round = 0; round < 30; round += 1) {
    const commit = await repository.push({ [`app/${round}.yaml`]: String(round) });
    expect(await paths(listings, 'mono/many', commit, 'app/**')).toHaveLength(round + 1);
    expect(listings.bytes).toBeLessThanOrEqual(20_000);
  }
});
