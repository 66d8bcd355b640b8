import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { UserError } from '../../lib/errors.ts';
import { loadGitServerConfig, parseGitServerConfig } from './config.ts';

const STORAGES = 'storages: [{name: default, path: repositories}]\n';

const example = fileURLToPath(new URL('./example.yaml', import.meta.url));

it('shows the defaults in the example', async () => {
  expect(await loadGitServerConfig(example)).toEqual(parseGitServerConfig(STORAGES, example));
});

it('understands the example with all that is commented out', async () => {
  const text = (await readFile(example, 'utf8'))
    .replace('projects: []', 'projects:')
    .replaceAll(/^#( ?(?: |[a-z_]+: |notify:).*)$/gm, uncommented);
  const config = parseGitServerConfig(text, example);
  expect(config.projects).toHaveLength(1);
  expect([config.tokenFile, config.notify?.secretFile].map((path) => path?.split('/').at(-1))).toEqual([
    'gitaly-token',
    'api-secret',
  ]);
});

/** "# key: value" and its indented rest; prose stays a comment. */
function uncommented(line: string, rest: string): string {
  const content = rest.startsWith('  ') ? rest : rest.trimStart();
  return /^ *(?:- )?[a-z_0-9]+:/.test(content) ? content : line;
}

it('fills in defaults and makes paths absolute, from the folder of the file', () => {
  expect(parseGitServerConfig(STORAGES, '/etc/git/config.yaml')).toEqual({
    grpcAddress: { host: '127.0.0.1', port: 8075 },
    httpAddress: { host: '127.0.0.1', port: 8090 },
    storages: [{ name: 'default', path: '/etc/git/repositories' }],
    tokenFile: undefined,
    pushTokensFile: '/etc/git/push-tokens.json',
    projects: [],
    notify: undefined,
    limits: { maxBodyBytes: 1 << 30, maxIdleProcesses: 32, maxConcurrentStreams: 32 },
    logLevel: 'info',
  });
});

it('reads every setting', () => {
  const text = `
listen: {grpc: '[::1]:0', http: ':80'}
storages: [{name: a, path: /srv/a}, {name: b, path: /srv/b}]
token_file: secrets/gitaly
push_tokens_file: /var/lib/tokens.json
projects:
  - {storage: b, relative_path: group/project.git, public: true, push_token_sha256: [${'a'.repeat(64)}]}
notify: {address: 'grpc://kas:8153', secret_file: secrets/kas}
limits: {max_body_size: 5Mi, max_idle_git_processes: 2, max_concurrent_blob_streams: 3}
logging: {level: debug}
`;
  expect(parseGitServerConfig(text, '/etc/git/config.yaml')).toEqual({
    grpcAddress: { host: '::1', port: 0 },
    httpAddress: { host: '0.0.0.0', port: 80 },
    storages: [
      { name: 'a', path: '/srv/a' },
      { name: 'b', path: '/srv/b' },
    ],
    tokenFile: '/etc/git/secrets/gitaly',
    pushTokensFile: '/var/lib/tokens.json',
    projects: [{ storage: 'b', relativePath: 'group/project.git', public: true, pushTokenHashes: ['a'.repeat(64)] }],
    notify: { target: 'kas:8153', secretFile: '/etc/git/secrets/kas' },
    limits: { maxBodyBytes: 5 << 20, maxIdleProcesses: 2, maxConcurrentStreams: 3 },
    logLevel: 'debug',
  });
});

it.each([
  ['no storage', '', /c\.yaml:1: storages/],
  ['an unknown key', `${STORAGES}tokens: x\n`, /c\.yaml:2: tokens: unknown key/],
  [
    'a storage named twice',
    'storages:\n- {name: a, path: x}\n- {name: a, path: y}\n',
    /c\.yaml:3: storages\[1\]\.name: is used by another/,
  ],
  [
    'a project on no storage',
    `${STORAGES}projects:\n- {storage: x, relative_path: a.git}\n`,
    /c\.yaml:3: projects\[0\]\.storage: there is no storage "x"/,
  ],
  [
    'a project twice',
    `${STORAGES}projects:\n- {relative_path: a.git}\n- {relative_path: a.git}\n`,
    /c\.yaml:4: .*is used by another project/,
  ],
  [
    'a path that leaves',
    `${STORAGES}projects:\n- {relative_path: a/../../b.git}\n`,
    /c\.yaml:3: projects\[0\]\.relative_path: must be the path/,
  ],
  ['an absolute path', `${STORAGES}projects:\n- {relative_path: /b.git}\n`, /must be the path/],
  ['a path without .git', `${STORAGES}projects:\n- {relative_path: a/b}\n`, /must be the path/],
  [
    'a token instead of its hash',
    `${STORAGES}projects:\n- {relative_path: a.git, push_token_sha256: [hunter2]}\n`,
    /must be a SHA-256/,
  ],
  ['an address of another kind', `${STORAGES}notify: {address: 'http://kas:1', secret_file: x}\n`, /write it like grpc:/],
])('refuses %s, with line and path', (_, text, expected) => {
  expect(() => parseGitServerConfig(text, 'c.yaml')).toThrow(expected);
  expect(() => parseGitServerConfig(text, 'c.yaml')).toThrow(UserError);
});

it('names a file that cannot be read', async () => {
  await expect(loadGitServerConfig('/nowhere/c.yaml')).rejects.toThrow('Cannot read the configuration file /nowhere/c.yaml');
});
