import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createPushToken, PushTokens } from './push-tokens.ts';
import { temporaryFolder } from './testing/work-tree.ts';

const never = new AbortController().signal;
const scope = { storage: 'default', relativePath: 'group/project.git' };

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await temporaryFolder();
  file = join(folder, 'machine', 'tokens.json');
});

afterEach(async () => await rm(folder, { recursive: true, force: true }));

it('makes tokens of 256 random bits and keeps their hashes only, readable for the owner alone', async () => {
  const token = await createPushToken(file, scope, never);
  expect(token).toMatch(/^kaspush-[\w-]{43}$/);
  expect(await createPushToken(file, scope, never)).not.toBe(token);
  const content = await readFile(file, 'utf8');
  expect(content).toContain(createHash('sha256').update(token).digest('hex'));
  expect(content).not.toContain(token.slice('kaspush-'.length));
  expect((await stat(file)).mode & 0o777).toBe(0o600);
});

it('allows a token for its own repository, from the moment it was made to the moment it is removed', async () => {
  const tokens = new PushTokens(file, []);
  expect(await tokens.allows(scope, 'any')).toBe(false);
  const token = await createPushToken(file, scope, never);
  expect(await tokens.allows(scope, token)).toBe(true);
  expect(await tokens.allows({ ...scope, relativePath: 'other.git' }, token)).toBe(false);
  expect(await tokens.allows({ ...scope, storage: 'other' }, token)).toBe(false);
  expect(await tokens.allows(scope, `${token}x`)).toBe(false);
  expect(await tokens.allows(scope, '')).toBe(false);
  await rm(file);
  expect(await tokens.allows(scope, token)).toBe(false);
});

it('allows the tokens of the configuration too', async () => {
  const hash = createHash('sha256').update('configured').digest('hex');
  const tokens = new PushTokens(file, [{ ...scope, pushTokenHashes: [hash], public: false }]);
  expect(await tokens.allows(scope, 'configured')).toBe(true);
  expect(await tokens.allows(scope, hash)).toBe(false);
});

it('loses no token when several are made at the same time, and leaves no file behind', async () => {
  const made = await Promise.all(Array.from({ length: 10 }, () => createPushToken(file, scope, never)));
  const tokens = new PushTokens(file, []);
  for (const token of made) expect(await tokens.allows(scope, token)).toBe(true);
  expect(await readdir(join(folder, 'machine'))).toEqual(['tokens.json']);
});

it('says what to do with a damaged file, without its content', async () => {
  await createPushToken(file, scope, never);
  await writeFile(file, '{"tokens": "hunter2"}');
  await expect(createPushToken(file, scope, never)).rejects.toThrow(
    `${file}: is not a file of push tokens; remove it and make new tokens`,
  );
  await expect(new PushTokens(file, []).allows(scope, 'x')).rejects.toThrow('is not a file of push tokens');
});
