import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { credentials, Metadata } from '@grpc/grpc-js';
import { sleep } from '../../lib/abort.ts';
import { UserError } from '../../lib/errors.ts';
import { signGitalyToken } from '../../lib/gitaly-token.ts';
import { callServerStream, callUnary } from '../../lib/grpc/call.ts';
import { formatListenAddress } from '../../lib/listen-address.ts';
import { createLogger } from '../../lib/log.ts';
import { BlobServiceClient, GetBlobsRequest, type GetBlobsResponse } from '../../proto/gen/gitaly/blob.ts';
import {
  CommitServiceClient,
  GetTreeEntriesRequest,
  type GetTreeEntriesResponse,
  type TreeEntry,
  TreeEntryRequest,
  type TreeEntryResponse,
} from '../../proto/gen/gitaly/commit.ts';
import { RefServiceClient } from '../../proto/gen/gitaly/ref.ts';
import { SmartHTTPServiceClient } from '../../proto/gen/gitaly/smarthttp.ts';
import { createRepository } from './create-repository.ts';
import { GrpcServer } from './grpc-server.ts';
import { Mirrors } from './mirrors.ts';
import { ObjectStore } from './object-store.ts';
import { Storages } from './storages.ts';
import { git, gitText, temporaryFolder, WorkTree } from './testing/work-tree.ts';

const SECRET = 'gitaly secret';
const never = new AbortController().signal;
const storageOf = (path: string) => ({ name: 'default', path });

let folder: string;
let repositoryPath: string;
let work: WorkTree;
let commit: string;
let objects: ObjectStore;
let server: GrpcServer;
let commits: CommitServiceClient;
let blobs: BlobServiceClient;
let refs: RefServiceClient;
let http: SmartHTTPServiceClient;

const large = randomBytes(3_000_001);
const submoduleCommit = 'a'.repeat(40);
const repository = {
  storageName: 'default',
  relativePath: 'group/project.git',
  gitObjectDirectory: '',
  gitAlternateObjectDirectories: [],
  glRepository: '',
  glProjectPath: '',
};

beforeAll(async () => {
  folder = await temporaryFolder();
  const storage = storageOf(join(folder, 'storage'));
  repositoryPath = (await createRepository({ storage, relativePath: repository.relativePath }, never)).path;
  await createRepository({ storage, relativePath: 'empty.git', defaultBranch: 'trunk' }, never);
  work = await WorkTree.create(folder);
  await work.write('README.md', 'hello\n');
  await work.write('empty', '');
  await work.write('large.bin', large);
  await work.write('exact.bin', Buffer.alloc(128 << 10, 0xff));
  await work.write('binary', Buffer.from([0, 255, 10, 13, 0, 128, 10]));
  await work.write('names/line\nfeed', 'lf');
  await work.write('names/sp ace "q" \\ ü', 'odd');
  await work.write('names/200 missing', 'm');
  await work.write('deep/1/2/3/4/5/6/7/8/9/10/11/leaf', 'leaf');
  await work.write('run.sh', '#!/bin/sh\n');
  await work.makeExecutable('run.sh');
  await work.link('link', 'README.md');
  for (let i = 0; i < 300; i++) await work.write(`many/${i % 10}/file-${i}.yaml`, `index: ${i}\n`);
  await work.addSubmodule('submodule', submoduleCommit);
  commit = await work.commit('first');
  await git(work.path, 'tag', '-a', 'v1', '-m', 'version 1');
  await work.push(repositoryPath, 'main', 'v1');

  objects = new ObjectStore({ maxIdleProcesses: 4, maxConcurrentStreams: 8 });
  const [storages, log] = [new Storages([storage]), createLogger('test', 'error')];
  const mirrors = new Mirrors({ storages, projects: [], log }, new AbortController().signal);
  server = new GrpcServer({ storages, objects, mirrors, secret: SECRET, log });
  const address = formatListenAddress(await server.listen({ host: '127.0.0.1', port: 0 }));
  commits = new CommitServiceClient(address, credentials.createInsecure());
  blobs = new BlobServiceClient(address, credentials.createInsecure());
  refs = new RefServiceClient(address, credentials.createInsecure());
  http = new SmartHTTPServiceClient(address, credentials.createInsecure());
});

afterAll(async () => {
  for (const client of [commits, blobs, refs, http]) client.close();
  await server.stop();
  objects.close();
  await rm(folder, { recursive: true, force: true });
});

function metadata(): Metadata {
  const result = new Metadata();
  result.set('authorization', signGitalyToken(SECRET));
  return result;
}

async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

async function treeEntry(fields: Partial<TreeEntryRequest>): Promise<TreeEntryResponse[]> {
  const request = TreeEntryRequest.fromPartial({ repository, revision: Buffer.from('main'), path: Buffer.from('.'), ...fields });
  return await collect(callServerStream(commits.treeEntry.bind(commits), request, { metadata: metadata() }, never));
}

async function entriesResponses(fields: Partial<GetTreeEntriesRequest>): Promise<GetTreeEntriesResponse[]> {
  const request = GetTreeEntriesRequest.fromPartial({
    repository,
    revision: Buffer.from('main'),
    path: Buffer.from('.'),
    ...fields,
  });
  return await collect(callServerStream(commits.getTreeEntries.bind(commits), request, { metadata: metadata() }, never));
}

async function entries(fields: Partial<GetTreeEntriesRequest>): Promise<TreeEntry[]> {
  return (await entriesResponses(fields)).flatMap((response) => response.entries);
}

async function getBlobs(fields: Partial<GetBlobsRequest>): Promise<GetBlobsResponse[]> {
  const request = GetBlobsRequest.fromPartial({ repository, limit: -1n, ...fields });
  return await collect(callServerStream(blobs.getBlobs.bind(blobs), request, { metadata: metadata() }, never));
}

/** `kind: message` of the UserError that a call ends with. */
async function refusal(call: Promise<unknown>): Promise<string> {
  return await call.then(
    () => 'accepted',
    (error: unknown) => (error instanceof UserError ? `${error.kind}: ${error.message}` : String(error)),
  );
}

function dataOf(messages: readonly { data: Buffer }[]): Buffer {
  return Buffer.concat(messages.map(({ data }) => data));
}

describe('TreeEntry', () => {
  it.each([
    'README.md',
    'large.bin',
    'exact.bin',
    'binary',
    'names/line\nfeed',
    'names/sp ace "q" \\ ü',
    'names/200 missing',
    'link',
    'run.sh',
  ])('gives %j byte for byte as git does', async (path) => {
    const messages = await treeEntry({ path: Buffer.from(path) });
    const [line] = (await gitText(repositoryPath, 'ls-tree', '-z', 'main', path)).split('\t');
    const [mode, , oid] = (line ?? '').split(' ');
    const content = await git(repositoryPath, 'cat-file', 'blob', oid ?? '');
    expect(dataOf(messages).equals(content)).toBe(true);
    const [first, ...rest] = messages;
    expect(first).toMatchObject({ type: 1, oid, size: BigInt(content.length), mode: Number.parseInt(mode ?? '', 8) });
    for (const { type, oid, size, mode, data } of rest) {
      expect({ type, oid, size, mode }).toEqual({ type: 0, oid: '', size: 0n, mode: 0 });
      expect(data.length).toBeLessThanOrEqual(128 << 10);
    }
  });

  it('answers an empty blob with one message', async () => {
    expect(await treeEntry({ path: Buffer.from('empty') })).toMatchObject([{ type: 1, size: 0n, data: Buffer.alloc(0) }]);
  });

  it('truncates at the limit', async () => {
    expect(dataOf(await treeEntry({ path: Buffer.from('README.md'), limit: 3n })).toString()).toBe('hel');
    for (const limit of [1, 128 << 10, (128 << 10) + 1, large.length - 1, large.length, large.length + 1]) {
      const messages = await treeEntry({ path: Buffer.from('large.bin'), limit: BigInt(limit) });
      expect(messages[0]?.size).toBe(BigInt(large.length));
      expect(dataOf(messages).equals(large.subarray(0, limit))).toBe(true);
    }
  });

  it('takes a commit id as revision', async () => {
    const messages = await treeEntry({ revision: Buffer.from(commit), path: Buffer.from('README.md') });
    expect(dataOf(messages).toString()).toBe('hello\n');
  });

  it('tells of a tree and of a submodule without data', async () => {
    const tree = await gitText(repositoryPath, 'rev-parse', 'main:many');
    expect(await treeEntry({ path: Buffer.from('many/') })).toMatchObject([{ type: 2, oid: tree, mode: 0o40000 }]);
    expect(await treeEntry({ path: Buffer.from('submodule') })).toMatchObject([
      { type: 0, oid: submoduleCommit, mode: 0o160000, size: 0n },
    ]);
  });

  it.each(['main', 'refs/heads/main', 'v1', 'HEAD'])('takes the revision %s', async (revision) => {
    const messages = await treeEntry({ revision: Buffer.from(revision), path: Buffer.from('README.md') });
    expect(dataOf(messages).toString()).toBe('hello\n');
  });

  it.each<[string, Partial<TreeEntryRequest>, string]>([
    ['no repository', { repository: undefined }, 'invalid: repository not set'],
    ['no relative path', { repository: { ...repository, relativePath: '' } }, 'invalid: repository path not set'],
    ['no storage', { repository: { ...repository, storageName: '' } }, 'invalid: storage name not set'],
    ['an unknown storage', { repository: { ...repository, storageName: 'other' } }, 'invalid: storage name not found'],
    [
      'a path out of the storage',
      { repository: { ...repository, relativePath: '../x.git' } },
      'invalid: relative path escapes root directory',
    ],
    ['an unknown repository', { repository: { ...repository, relativePath: 'x.git' } }, 'not_found: repository not found'],
    [
      'a folder that is no repository',
      { repository: { ...repository, relativePath: 'group' } },
      'precondition: repository not valid: "objects" does not exist',
    ],
    ['no revision', { revision: Buffer.alloc(0) }, 'invalid: empty revision'],
    ['an option as revision', { revision: Buffer.from('--output=/x') }, "invalid: revision can't start with '-'"],
    ['a revision with a path', { revision: Buffer.from('main:many') }, "invalid: revision can't contain ':'"],
    ['no path', { path: Buffer.alloc(0) }, 'invalid: empty Path'],
    ['a negative limit', { limit: -1n }, 'invalid: negative Limit'],
    ['a negative maximum', { maxSize: -1n }, 'invalid: negative MaxSize'],
    [
      'an unknown revision',
      { revision: Buffer.from('nothing'), path: Buffer.from('README.md') },
      'not_found: tree entry not found',
    ],
    [
      'a reflog entry that is not there',
      { revision: Buffer.from('main@{99}'), path: Buffer.from('README.md') },
      'not_found: tree entry not found',
    ],
    ['an unknown path', { path: Buffer.from('nothing') }, 'not_found: tree entry not found'],
    ['a path out of the root', { path: Buffer.from('../README.md') }, 'not_found: tree entry not found'],
    ['a path that is not literal', { path: Buffer.from('./README.md') }, 'not_found: tree entry not found'],
    ['the root', { path: Buffer.from('.') }, 'not_found: tree entry not found'],
    [
      'a larger object',
      { path: Buffer.from('README.md'), maxSize: 5n },
      'precondition: object size (6) is bigger than the maximum allowed size (5)',
    ],
  ])('refuses %s', async (_, fields, expected) => {
    expect(await refusal(treeEntry(fields))).toBe(expected);
  });
});

describe('GetTreeEntries', () => {
  it('lists recursively what git lists, in its order', async () => {
    const listed = (await git(repositoryPath, 'ls-tree', '-r', '-t', '-z', 'main')).toString('latin1').split('\0').slice(0, -1);
    const got = (await entries({ recursive: true })).map(
      ({ mode, type, oid, path }) =>
        `${mode.toString(8).padStart(6, '0')} ${['blob', 'tree', '', 'commit'][type]} ${oid}\t${path.toString('latin1')}`,
    );
    expect(got).toEqual(listed);
    expect(got.length).toBeGreaterThan(320);
  });

  it('gives full paths, the revision as asked for, and no flat path when recursive', async () => {
    const got = await entries({ path: Buffer.from('many/3/'), recursive: true });
    expect(got).toHaveLength(30);
    expect(got[0]).toMatchObject({ path: Buffer.from('many/3/file-103.yaml'), commitOid: 'main', flatPath: Buffer.alloc(0) });
  });

  it('skips folders that hold one folder only in flat paths, nine at the most', async () => {
    const got = await entries({ path: Buffer.from('deep') });
    expect(got.map(({ path, flatPath }) => `${path.toString()} ${flatPath.toString()}`)).toEqual([
      'deep/1 deep/1/2/3/4/5/6/7/8/9/10',
    ]);
    const [flat] = await entries({ path: Buffer.from('deep'), skipFlatPaths: true });
    expect(flat?.flatPath).toEqual(Buffer.alloc(0));
    expect((await entries({})).find(({ path }) => path.toString() === 'README.md')?.flatPath.toString()).toBe('README.md');
  });

  it('puts trees first, then blobs, then submodules, when asked to', async () => {
    const types = (await entries({ sort: 1 })).map(({ type }) => type);
    expect(types).toEqual(types.toSorted((a, b) => [1, 0, 2, 2][a]! - [1, 0, 2, 2][b]!));
    expect(types.at(-1)).toBe(3);
  });

  it('pages through a tree', async () => {
    const all = (await entries({ recursive: true })).map(({ path }) => path.toString());
    const seen: string[] = [];
    let pageToken = '';
    do {
      const [page, ...others] = await entriesResponses({ recursive: true, paginationParams: { pageToken, limit: 100 } });
      expect(others).toEqual([]);
      seen.push(...(page?.entries ?? []).map(({ path }) => path.toString()));
      pageToken = page?.paginationCursor?.nextCursor ?? '';
    } while (pageToken !== '');
    expect(seen).toEqual(all);
    expect(await entries({ paginationParams: { pageToken: '', limit: 0 } })).toEqual([]);
    expect(await entries({ recursive: true, paginationParams: { pageToken: '', limit: -1 } })).toHaveLength(all.length);
  });

  it.each<[string, Partial<GetTreeEntriesRequest>, string]>([
    ['no path', { path: Buffer.alloc(0) }, 'invalid: empty path'],
    ['no revision', { revision: Buffer.alloc(0) }, 'invalid: empty revision'],
    ['an unknown path', { path: Buffer.from('nothing') }, 'invalid: invalid revision or path'],
    ['an unknown path, recursively', { path: Buffer.from('nothing'), recursive: true }, 'not_found: invalid revision or path'],
    ['an unknown revision', { revision: Buffer.from('nothing') }, 'invalid: invalid revision or path'],
    [
      'an unknown revision, recursively',
      { revision: Buffer.from('nothing'), recursive: true },
      'not_found: invalid revision or path',
    ],
    ['a path out of the root', { path: Buffer.from('./..') }, 'invalid: invalid revision or path'],
    ['a path with ..', { path: Buffer.from('many/..') }, 'invalid: invalid revision or path'],
    ['an absolute path', { path: Buffer.from('/many') }, 'invalid: invalid revision or path'],
    ['a file', { path: Buffer.from('README.md') }, 'invalid: path not treeish'],
    ['a file, recursively', { path: Buffer.from('README.md'), recursive: true }, 'invalid: path not treeish'],
  ])('refuses %s', async (_, fields, expected) => {
    expect(await refusal(entries(fields))).toBe(expected);
  });

  it('refuses trees that stand for more entries than can be listed, and goes on', async () => {
    const bomb = (levels: number, ...names: string[]): string => {
      let oid = execFileSync('git', ['mktree'], { cwd: repositoryPath, input: '' }).toString().trim();
      for (let level = 0; level < levels; level++) {
        const entries = names.map((name) => `040000 tree ${oid}\t${name}\n`).join('');
        oid = execFileSync('git', ['mktree'], { cwd: repositoryPath, input: entries }).toString().trim();
      }
      return oid;
    };
    const wide = bomb(10, ...Array.from({ length: 10 }, (_, index) => `d${index}`));
    const deep = bomb(50, 'd'.repeat(60_000));
    for (const revision of [wide, deep])
      await expect(entries({ revision: Buffer.from(revision), recursive: true })).rejects.toMatchObject({
        reason: 'TreeTooLarge',
      });
    expect(await entries({})).not.toHaveLength(0);
  });

  it('finds no revision in an empty repository', async () => {
    const empty = { repository: { ...repository, relativePath: 'empty.git' }, revision: Buffer.from('HEAD') };
    expect(await refusal(entries(empty))).toBe('invalid: invalid revision or path');
  });
});

describe('GetBlobs', () => {
  const wanted = (...paths: string[]) => paths.map((path) => ({ revision: 'main', path: Buffer.from(path) }));

  it('gives blobs in order, the first message of each with everything', async () => {
    const paths = [
      'README.md',
      'large.bin',
      'empty',
      'binary',
      ...Array.from({ length: 300 }, (_, i) => `many/${i % 10}/file-${i}.yaml`),
    ];
    const messages = await getBlobs({ revisionPaths: wanted(...paths) });
    const starts = messages.flatMap(({ path }, index) => (path.length > 0 ? [index] : []));
    expect(starts.map((index) => messages[index]?.path.toString())).toEqual(paths);
    for (const [at, start] of starts.entries()) {
      const { oid, size } = messages[start]!;
      const data = dataOf(messages.slice(start, starts[at + 1]));
      expect(BigInt(data.length)).toBe(size);
      expect(createHash('sha1').update(`blob ${size}\0`).update(data).digest('hex')).toBe(oid);
    }
  });

  it('gives no data with a limit of 0 and truncates at a positive one', async () => {
    expect(await getBlobs({ revisionPaths: wanted('README.md', 'large.bin'), limit: 0n })).toMatchObject([
      { size: 6n, data: Buffer.alloc(0), type: 2, mode: 0o100644, revision: 'main' },
      { size: BigInt(large.length), data: Buffer.alloc(0) },
    ]);
    expect(await getBlobs({ revisionPaths: wanted('README.md', 'large.bin'), limit: 4n })).toMatchObject([
      { data: Buffer.from('hell') },
      { size: BigInt(large.length), data: large.subarray(0, 4) },
    ]);
  });

  it('answers what is missing with revision and path only, a tree without data, and flags a submodule', async () => {
    const messages = await getBlobs({ revisionPaths: wanted('nothing', '', '/', 'many/', 'submodule') });
    const missing = { oid: '', size: 0n, mode: 0, type: 0, isSubmodule: false, data: Buffer.alloc(0), revision: 'main' };
    expect(messages).toMatchObject([
      { ...missing, path: Buffer.from('nothing') },
      { ...missing, path: Buffer.alloc(0) },
      { ...missing, path: Buffer.from('/') },
      { type: 3, mode: 0o40000, path: Buffer.from('many'), isSubmodule: false },
      { type: 1, mode: 0o160000, oid: submoduleCommit, isSubmodule: true, size: 0n },
    ]);
  });

  it('refuses a request for nothing and a bad revision', async () => {
    expect(await refusal(getBlobs({ revisionPaths: [] }))).toBe('invalid: empty RevisionPaths');
    expect(await refusal(getBlobs({ revisionPaths: [{ revision: '-x', path: Buffer.from('a') }] }))).toBe(
      "invalid: revision can't start with '-'",
    );
  });
});

describe('FindDefaultBranchName', () => {
  async function defaultBranch(relativePath: string, headOnly = false): Promise<string> {
    const request = { repository: { ...repository, relativePath }, headOnly };
    const { name } = await callUnary(refs.findDefaultBranchName.bind(refs), request, { metadata: metadata() }, never);
    return name.toString();
  }

  it('names the branch of HEAD', async () => {
    expect(await defaultBranch('group/project.git')).toBe('refs/heads/main');
  });

  it('names none in an empty repository, unless HEAD alone is asked for', async () => {
    expect(await defaultBranch('empty.git')).toBe('');
    expect(await defaultBranch('empty.git', true)).toBe('refs/heads/trunk');
  });

  it('falls back to main, master and the first branch when the branch of HEAD does not exist', async () => {
    const { path } = await createRepository(
      {
        storage: storageOf(join(folder, 'storage')),
        relativePath: 'branches.git',
        defaultBranch: 'gone',
      },
      never,
    );
    await work.push(path, 'main:refs/heads/zeta', 'main:refs/heads/alpha');
    expect(await defaultBranch('branches.git')).toBe('refs/heads/alpha');
    await work.push(path, 'main:refs/heads/master');
    expect(await defaultBranch('branches.git')).toBe('refs/heads/master');
    await work.push(path, 'main:refs/heads/main');
    expect(await defaultBranch('branches.git')).toBe('refs/heads/main');
  });
});

describe('InfoRefsUploadPack', () => {
  async function infoRefs(fields: { gitProtocol?: string; gitConfigOptions?: string[] } = {}): Promise<Buffer> {
    const request = { repository, gitProtocol: '', gitConfigOptions: [], ...fields };
    return dataOf(await collect(callServerStream(http.infoRefsUploadPack.bind(http), request, { metadata: metadata() }, never)));
  }

  it('gives what git advertises behind its banner', async () => {
    const expected = await git(repositoryPath, 'upload-pack', '--stateless-rpc', '--advertise-refs', '.');
    expect(await infoRefs()).toEqual(Buffer.concat([Buffer.from('001e# service=git-upload-pack\n0000'), expected]));
  });

  it('honours the protocol version and configuration', async () => {
    expect((await infoRefs({ gitProtocol: 'version=2' })).toString()).toContain('version 2\n');
    expect((await infoRefs({ gitProtocol: 'version=9' })).toString()).toContain('refs/heads/main');
    expect((await infoRefs({ gitConfigOptions: ['transfer.hideRefs=refs/tags'] })).toString()).not.toContain('refs/tags/v1');
  });

  it.each(['uploadpack.packObjectsHook=touch /tmp/x', 'core.fsmonitor=false', 'include.path=/etc/passwd', 'transfer.hideRefs'])(
    'refuses the configuration %s',
    async (option) => {
      await expect(infoRefs({ gitConfigOptions: [option] })).rejects.toMatchObject({ kind: 'invalid' });
    },
  );

  it('shows a push at once', async () => {
    const next = await work.commit('another');
    await work.push(repositoryPath);
    expect((await infoRefs()).toString()).toContain(`${next} refs/heads/main`);
    expect((await treeEntry({ revision: Buffer.from(next), path: Buffer.from('README.md') }))[0]?.size).toBe(6n);
  });
});

describe('many callers', () => {
  async function read(path: string): Promise<Buffer> {
    return dataOf(await treeEntry({ path: Buffer.from(path) }));
  }

  it('serves 20 at a time, large and small', async () => {
    const results = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => [
        (await read('large.bin')).equals(large),
        (await read(`many/${i % 10}/file-${i}.yaml`)).toString() === `index: ${i}\n`,
      ]),
    );
    expect(results.flat()).toEqual(Array.from({ length: 40 }, () => true));
  });

  it('goes on after callers that cancelled in the middle of a blob, and keeps no process for them', async () => {
    const request = TreeEntryRequest.fromPartial({ repository, revision: Buffer.from('main'), path: Buffer.from('large.bin') });
    for (let round = 0; round < 5; round++) {
      for await (const message of callServerStream(commits.treeEntry.bind(commits), request, { metadata: metadata() }, never))
        if (message.data.length > 0) break;
      expect((await read('binary')).equals(Buffer.from([0, 255, 10, 13, 0, 128, 10]))).toBe(true);
    }
    expect((await read('large.bin')).equals(large)).toBe(true);
    const tooLate = AbortSignal.timeout(5_000);
    // Those that stay are the idle ones, as many as the store may keep.
    while (objects.pids.length > 4) await sleep(5, tooLate);
  });

  it('goes on when its git processes are killed', async () => {
    await read('README.md');
    for (const pid of objects.pids) process.kill(pid, 'SIGKILL');
    expect((await read('README.md')).toString()).toBe('hello\n');
    expect((await read('large.bin')).equals(large)).toBe(true);
  });
});

describe('authentication', () => {
  async function codeWith(authorization: string | undefined): Promise<string> {
    const sent = new Metadata();
    if (authorization !== undefined) sent.set('authorization', authorization);
    const request = { repository, headOnly: false };
    const unary = callUnary(refs.findDefaultBranchName.bind(refs), request, { metadata: sent }, never);
    const stream = collect(
      callServerStream(commits.treeEntry.bind(commits), TreeEntryRequest.fromPartial({ repository }), { metadata: sent }, never),
    );
    const outcomes = await Promise.all([refusal(unary), refusal(stream)]);
    expect(outcomes[1]).toBe(outcomes[0]);
    return outcomes[0];
  }

  it('asks for a token, and refuses a wrong or old one', async () => {
    expect(await codeWith(undefined)).toBe('unauthenticated: authentication required');
    expect(await codeWith('Bearer nonsense')).toBe('unauthenticated: authentication required');
    expect(await codeWith(signGitalyToken('wrong'))).toBe('forbidden: permission denied');
    expect(await codeWith(signGitalyToken(SECRET, new Date(Date.now() - 40_000)))).toBe('forbidden: permission denied');
  });
});
