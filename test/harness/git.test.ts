import { join } from 'node:path';
import { initBareRepository, WorkingCopy } from './git.ts';
import { createTempDir, type TempDir } from './temp-dir.ts';

describe('WorkingCopy', () => {
  let directory: TempDir;
  let bare: string;

  beforeEach(async () => {
    directory = await createTempDir();
    bare = join(directory.path, 'bare.git');
    await initBareRepository(bare);
  });

  afterEach(async () => await directory.remove());

  it('brings commits to another working copy through a bare repository', async () => {
    const mine = await WorkingCopy.clone(bare, join(directory.path, 'mine'));
    await mine.write('a/settings.yaml', 'a: 1\n');
    await mine.replace('a/settings.yaml', /1/, '2');
    const commit = await mine.commitAndPush('Add settings');

    const theirs = await WorkingCopy.clone(bare, join(directory.path, 'theirs'));

    expect(commit).toMatch(/^[0-9a-f]{40}$/);
    expect(await theirs.head()).toBe(commit);
    expect(await theirs.read('a/settings.yaml')).toBe('a: 2\n');
    expect((await theirs.git.log()).latest?.author_name).toBe('Test');
  });

  it('removes files and commits nothing at all when asked to', async () => {
    const copy = await WorkingCopy.clone(bare, join(directory.path, 'copy'));
    await copy.write('a.yaml', 'a: 1\n');
    const first = await copy.commitAndPush('Add');
    await copy.remove('a.yaml');
    const second = await copy.commitAndPush('Remove');
    const third = await copy.commitAndPush('Change nothing');
    expect(new Set([first, second, third]).size).toBe(3);
    expect((await copy.git.raw(['ls-tree', '--name-only', 'HEAD'])).trim()).toBe('');
  });

  it('rejects a push that the other side refuses', async () => {
    const mine = await WorkingCopy.clone(bare, join(directory.path, 'mine'));
    const theirs = await WorkingCopy.clone(bare, join(directory.path, 'theirs'));
    await mine.commitAndPush('Mine');
    await theirs.commit('Theirs');
    await expect(theirs.push()).rejects.toThrow(/rejected/);
  });

  it('refuses to replace what is not there', async () => {
    const copy = await WorkingCopy.init(join(directory.path, 'copy'));
    await copy.write('a.yaml', 'a: 1\n');
    await expect(copy.replace('a.yaml', /b/, 'c')).rejects.toThrow('a.yaml holds nothing that matches /b/');
  });
});
