import { copyFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { UserError } from '../../lib/errors.ts';
import { createLogger } from '../../lib/log.ts';
import { createAccessToken } from './access-tokens.ts';
import { createAgentToken, revokeAgentTokens } from './agent-tokens.ts';
import { FileRegistry } from './file-registry.ts';

const REGISTRY = `
gitaly_servers:
  default: {address: 'tcp://127.0.0.1:8075', token_file: gitaly-token}
agents:
  - {id: 1, name: prod, project: platform/agents}
  - {id: 2, name: dev, project: platform/agents}
projects:
  - {path: platform/agents}
  - {path: shop/web, relative_path: repositories/web.git, storage_name: fast, agents: [prod]}
  - {path: shop/public, public: true}
`;

let folder: string;
let file: string;
let lines: string[];
let stop: AbortController;
const log = createLogger('test', 'info', new Writable({ write: (chunk, _, done) => done(void lines.push(String(chunk))) }));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'registry-'));
  file = join(folder, 'registry.yaml');
  lines = [];
  stop = new AbortController();
  await writeFile(file, REGISTRY);
  await writeFile(join(folder, 'gitaly-token'), 'secret\n');
});

afterEach(async () => {
  stop.abort();
  await rm(folder, { recursive: true });
});

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error('The condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('a token leads to its agent and nothing but its hash is stored', async () => {
  const token = await createAgentToken(file, 'prod');
  const registry = await FileRegistry.open(file, log);

  expect(token).toMatch(/^kasagent-[A-Za-z0-9_-]{43}$/);
  expect(await registry.agentByToken(token, stop.signal)).toEqual({ id: 1, name: 'prod', project: 'platform/agents' });
  const stored = join(folder, 'agent-tokens.json');
  expect(await readFile(stored, 'utf8')).not.toContain(token.slice('kasagent-'.length));
  expect((await stat(stored)).mode & 0o777).toBe(0o600);
});

test('a token created while kas runs works at once', async () => {
  const registry = await FileRegistry.open(file, log);
  const token = await createAgentToken(file, 'dev');
  expect((await registry.agentByToken(token, stop.signal)).name).toBe('dev');
});

test('an agent may have several tokens, also when they are created at the same time', async () => {
  const tokens = await Promise.all(Array.from({ length: 5 }, () => createAgentToken(file, 'prod')));
  const registry = await FileRegistry.open(file, log);
  for (const token of tokens) expect((await registry.agentByToken(token, stop.signal)).name).toBe('prod');
});

test.each(['', 'kasagent-', 'nonsense', `kasagent-${'A'.repeat(43)}`])('token %j is unauthenticated', async (token) => {
  const registry = await FileRegistry.open(file, log);
  await expect(registry.agentByToken(token, stop.signal)).rejects.toMatchObject({ kind: 'unauthenticated' });
});

test('the example is valid and says what it says', async () => {
  await copyFile(new URL('./example.yaml', import.meta.url), file);
  const token = await createAgentToken(file, 'production');
  const registry = await FileRegistry.open(file, log);
  expect(registry.agents()).toEqual([{ id: 1, name: 'production', project: 'platform/agents' }]);
  for (const path of ['platform/agents', 'shop/web', 'shop/base'])
    expect((await registry.manifestProject(token, path, stop.signal)).location.relativePath).toBe(`${path}.git`);
});

test('a token for an agent that the registry does not have is refused, naming those it has', async () => {
  await expect(createAgentToken(file, 'test')).rejects.toThrow(/no agent "test" \(it has prod, dev\)/);
});

test('revoked tokens are obeyed while kas runs, and listeners hear of it', async () => {
  const token = await createAgentToken(file, 'prod');
  const other = await createAgentToken(file, 'dev');
  const registry = await FileRegistry.open(file, log);
  void registry.watch(stop.signal);
  let changes = 0;
  registry.onChange(() => (changes += 1));

  expect(await revokeAgentTokens(file, 'prod')).toBe(1);
  await until(() => changes > 0);

  await expect(registry.agentByToken(token, stop.signal)).rejects.toMatchObject({ kind: 'unauthenticated' });
  expect((await registry.agentByToken(other, stop.signal)).name).toBe('dev');
});

test('an agent reads its own project, public ones and those that list it', async () => {
  const registry = await FileRegistry.open(file, log);
  const [prod, dev] = [await createAgentToken(file, 'prod'), await createAgentToken(file, 'dev')];

  expect((await registry.configurationProject(prod, stop.signal)).path).toBe('platform/agents');
  expect((await registry.manifestProject(dev, 'platform/agents', stop.signal)).path).toBe('platform/agents');
  expect((await registry.manifestProject(dev, 'shop/public', stop.signal)).path).toBe('shop/public');
  expect(await registry.manifestProject(prod, 'shop/web', stop.signal)).toEqual({
    path: 'shop/web',
    location: {
      gitaly: { address: 'tcp://127.0.0.1:8075', token: 'secret' },
      storageName: 'fast',
      relativePath: 'repositories/web.git',
      glRepository: '',
      glProjectPath: 'shop/web',
    },
  });
});

test('a project that is not there and one that may not be read cannot be told apart', async () => {
  const registry = await FileRegistry.open(file, log);
  const dev = await createAgentToken(file, 'dev');
  const errors = await Promise.all(
    ['shop/web', 'shop/missing'].map((path) => registry.manifestProject(dev, path, stop.signal).catch((error: unknown) => error)),
  );
  const [barred, missing] = errors.map((error) => (error as UserError).message.replace(/shop\/\w+/, 'X'));
  expect(barred).toBe(missing);
  expect(errors[0]).toMatchObject({ kind: 'not_found', reason: 'ProjectNotFound' });
});

test('a changed file is read again; a broken one keeps the last good state and is logged once', async () => {
  const token = await createAgentToken(file, 'prod');
  const registry = await FileRegistry.open(file, log);
  void registry.watch(stop.signal);

  await writeFile(file, REGISTRY.replace('id: 1', 'id: one'));
  await until(() => lines.some((line) => line.includes('Registry is broken')));
  await registry.agentByToken('unknown', stop.signal).catch(() => undefined);
  expect((await registry.agentByToken(token, stop.signal)).id).toBe(1);
  expect(lines.filter((line) => line.includes('Registry is broken'))).toHaveLength(1);
  expect(lines[0]).toMatch(/registry\.yaml:5: agents\[0\]\.id: must be a number/);

  await writeFile(file, REGISTRY.replace('id: 1', 'id: 7'));
  await until(() => registry.agents().some((agent) => agent.id === 7));
  expect((await registry.agentByToken(token, stop.signal)).id).toBe(7);
});

test('a changed Gitaly token and a broken file of agent tokens are seen', async () => {
  const token = await createAgentToken(file, 'prod');
  const registry = await FileRegistry.open(file, log);
  void registry.watch(stop.signal);

  await writeFile(join(folder, 'gitaly-token'), 'rotated');
  await until(async () => (await registry.configurationProject(token, stop.signal)).location.gitaly.token === 'rotated');
  await writeFile(join(folder, 'agent-tokens.json'), '{"tokens": [');
  await until(() => lines.some((line) => line.includes('this is not a file of agent tokens')));
  expect((await registry.agentByToken(token, stop.signal)).name).toBe('prod');
});

test('a token file that comes after the registry that names it is found', async () => {
  const registry = await FileRegistry.open(file, log);
  void registry.watch(stop.signal);
  await writeFile(file, REGISTRY.replace('gitaly-token', 'late-token').replace('id: 1', 'id: 9'));
  await until(() => lines.some((line) => line.includes('late-token')));
  await writeFile(join(folder, 'late-token'), 'secret');
  await until(() => registry.agents().some((agent) => agent.id === 9));
  expect(lines.filter((line) => line.includes('Registry is broken'))).toHaveLength(1);
});

test('agent tokens that cannot be written are a user error', async () => {
  await writeFile(file, `${REGISTRY}agent_tokens_file: missing/tokens.json\n`);
  await expect(createAgentToken(file, 'prod')).rejects.toThrow(/Cannot write the agent tokens .*missing\/tokens\.json/);
});

test.each([
  [
    'unknown key',
    REGISTRY.replace('public: true', 'publik: true'),
    /registry\.yaml:\d+: projects\[2\]\.publik: unknown key; did you mean "public"/,
  ],
  ['agent name', REGISTRY.replace('name: prod', 'name: Prod_1'), /agents\[0\]\.name: must be lower-case/],
  ['agent twice', REGISTRY.replace('name: dev', 'name: prod'), /registry\.yaml:6: agents\[1\]\.name: name "prod" is used twice/],
  ['id twice', REGISTRY.replace('id: 2', 'id: 1'), /agents\[1\]\.id: id 1 is used twice/],
  ['project twice', REGISTRY.replace('shop/public', 'shop/web'), /projects\[2\]\.path: project "shop\/web" is listed twice/],
  [
    'missing configuration project',
    REGISTRY.replace('{path: platform/agents}', '{path: platform/other}'),
    /there is no project "platform\/agents"/,
  ],
  ['unknown agent in a project', REGISTRY.replace('agents: [prod]', 'agents: [test]'), /there is no agent "test"/],
  ['unknown server', REGISTRY.replace('storage_name: fast', 'gitaly: fast'), /there is no server "fast"/],
  ['bad address', REGISTRY.replace('tcp://', 'http://'), /address: must begin with tcp:\/\//],
  ['missing token file', REGISTRY.replace('gitaly-token', 'nowhere'), /Cannot read the token file of Gitaly server "default"/],
])('%s: an error that names the place', async (_, text, message) => {
  await writeFile(file, text);
  await expect(FileRegistry.open(file, log)).rejects.toThrow(message);
  await expect(FileRegistry.open(file, log)).rejects.toBeInstanceOf(UserError);
});

test('an access token whose expiry is no time is refused with its file, rather than good for ever', async () => {
  const owner = { kind: 'job', project: 'shop/web', protected: false } as const;
  const token = await createAccessToken(file, owner, new Date(Date.now() + 3_600_000));
  const registry = await FileRegistry.open(file, log);
  expect(await registry.accessByToken('job', token, stop.signal)).toMatchObject({ record: { owner: 'shop/web' } });
  const stored = join(folder, 'access-tokens.json');
  const text = await readFile(stored, 'utf8');
  await writeFile(stored, text.replace(/"expiresAt": "[^"]+"/, '"expiresAt": "tomorrow"'));
  await expect(FileRegistry.open(file, log)).rejects.toThrow(/this is not a file of access tokens/);
});
