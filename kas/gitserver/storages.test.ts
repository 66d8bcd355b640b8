import { mkdir, readdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../lib/errors.ts';
import { createRepository } from './create-repository.ts';
import { Storages } from './storages.ts';
import { gitText, temporaryFolder } from './testing/work-tree.ts';

const never = new AbortController().signal;

let folder: string;
let storage: { name: string; path: string };
let storages: Storages;

beforeAll(async () => {
  folder = await temporaryFolder();
  storage = { name: 'default', path: join(folder, 'storage') };
  storages = new Storages([storage]);
  await createRepository({ storage, relativePath: 'group/project.git' }, never);
  await createRepository({ storage: { name: 'outside', path: join(folder, 'outside') }, relativePath: 'secret.git' }, never);
});

afterAll(async () => await rm(folder, { recursive: true, force: true }));

async function outcome(relativePath: string): Promise<string> {
  return await storages.repository('default', relativePath).then(
    (repository) => repository.relativePath,
    (error: unknown) => (error instanceof UserError ? `${error.kind}: ${error.message}` : String(error)),
  );
}

it.each([
  ['group/project.git', 'group/project.git'],
  ['group//./project.git/', 'group/project.git'],
  ['/group/project.git', 'group/project.git'],
  ['group/../group/project.git', 'group/project.git'],
  ['group/none.git', 'not_found: repository not found'],
  ['group/project.git/HEAD/x', 'not_found: repository not found'],
  ['x'.repeat(300), 'not_found: repository not found'],
  ['group', 'precondition: repository not valid: "objects" does not exist'],
  ['..', 'invalid: relative path escapes root directory'],
  ['../outside/secret.git', 'invalid: relative path escapes root directory'],
  ['group/../../outside/secret.git', 'invalid: relative path escapes root directory'],
  ['+kas/spool', 'invalid: relative path escapes root directory'],
  ['a\0b', "invalid: repository path can't contain NUL"],
])('takes %j for %j', async (relativePath, expected) => {
  expect(await outcome(relativePath)).toBe(expected);
});

it('follows no symbolic link out of the storage, though one inside of it', async () => {
  await symlink(join(folder, 'outside'), join(storage.path, 'link'));
  await symlink(join(folder, 'outside', 'secret.git'), join(storage.path, 'direct.git'));
  await symlink('group', join(storage.path, 'alias'));
  expect(await outcome('link/secret.git')).toBe('invalid: relative path escapes root directory');
  expect(await outcome('direct.git')).toBe('invalid: relative path escapes root directory');
  expect(await outcome('alias/project.git')).toBe('alias/project.git');
});

describe('createRepository', () => {
  async function refusal(relativePath: string, defaultBranch = 'main'): Promise<string> {
    return await createRepository({ storage, relativePath, defaultBranch }, never).then(
      () => 'created',
      (error: unknown) => (error instanceof UserError ? error.message : String(error)),
    );
  }

  it('makes an empty bare repository with the branch asked for and no hooks but its own', async () => {
    const { path } = await createRepository({ storage, relativePath: 'new/one.git', defaultBranch: 'trunk' }, never);
    expect(await gitText(path, 'rev-parse', '--is-bare-repository')).toBe('true');
    expect(await gitText(path, 'symbolic-ref', 'HEAD')).toBe('refs/heads/trunk');
    expect(await gitText(path, 'for-each-ref')).toBe('');
    expect(await readdir(join(path, 'hooks'))).toEqual(['post-receive']);
  });

  it('refuses what exists, leaves the storage, or has a bad name', async () => {
    expect(await refusal('group/project.git')).toBe('group/project.git: exists already');
    expect(await refusal('group/project')).toBe('group/project: must end in .git');
    expect(await refusal('../x.git')).toBe('relative path escapes root directory');
    expect(await refusal('+kas/x.git')).toBe('relative path escapes root directory');
    for (const branch of ['', 'a b', '-x..y', 'x.lock', '/x'])
      expect(await refusal('x.git', branch)).toMatch(/is not a branch name$/);
  });

  it('creates nothing where a link leads out of the storage', async () => {
    await mkdir(join(folder, 'elsewhere'));
    await symlink(join(folder, 'elsewhere'), join(storage.path, 'out'));
    expect(await refusal('out/x.git')).toBe('relative path escapes root directory');
    expect(await refusal('out/deeper/x.git')).toBe('relative path escapes root directory');
    expect(await readdir(join(folder, 'elsewhere'))).toEqual([]);
  });
});
