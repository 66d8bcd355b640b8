import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep } from '../../lib/abort.ts';
import { createLogger } from '../../lib/log.ts';
import { announcementName, spoolFolder } from './push-hook.ts';
import { PushSpool } from './push-spool.ts';
import { temporaryFolder } from './testing/work-tree.ts';

const log = createLogger('test', 'error');
const never = new AbortController().signal;

let folder: string;

beforeEach(async () => {
  folder = await temporaryFolder();
});

afterEach(async () => await rm(folder, { recursive: true, force: true }));

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const timeout = AbortSignal.timeout(10_000);
  while (!(await condition())) await sleep(5, timeout);
}

it('keeps the announcement of a later push until kas was told of that one too', async () => {
  const storage = { name: 'default', path: folder };
  const spool = spoolFolder(storage);
  await mkdir(spool, { recursive: true });
  // As the hook does it: the name appears when the content is there.
  const announce = async (): Promise<void> => {
    await writeFile(join(spool, 'written'), 'a.git');
    await rename(join(spool, 'written'), join(spool, announcementName('a.git')));
  };
  const told: (() => void)[] = [];
  const onPush = (): Promise<void> => new Promise((resolve) => told.push(resolve));
  const reader = new PushSpool({ storages: [storage], onPush, log }, never);
  await announce();
  await reader.start();
  await until(() => told.length === 1);
  await announce();
  await until(() => told.length === 2);
  told[0]?.();
  await until(async () => (await readdir(spool)).length === 1);

  // As after a crash: what kas was not told of is announced again.
  const stop = new AbortController();
  const again: string[] = [];
  const next = new PushSpool(
    { storages: [storage], onPush: async (push) => void again.push(push.relativePath), log },
    stop.signal,
  );
  await next.start();
  await until(() => again.length === 1);
  expect(again).toEqual(['a.git']);
  told[1]?.();
  await reader.close();
  await next.close();
});
