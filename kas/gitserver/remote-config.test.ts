import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseGitServerConfig } from './config.ts';
import { remoteEnvironment } from './remote-environment.ts';
import { temporaryFolder } from './testing/work-tree.ts';

const parse = (remote: string) => {
  const text = `storages: [{name: default, path: s}]\nprojects: [{relative_path: a.git, remote: ${remote}}]\n`;
  return parseGitServerConfig(text, '/etc/git/config.yaml').projects[0]?.remote;
};

test('a remote over https has a token, one over ssh a key and known hosts', () => {
  expect(parse('{url: "https://example.com/a.git", token_file: t, username: oauth2}')).toEqual({
    url: 'https://example.com/a.git',
    username: 'oauth2',
    tokenFile: '/etc/git/t',
    timeLimitMs: 900_000,
    maxSizeBytes: 2 * 2 ** 30,
    allowForcePush: true,
  });
  for (const url of ['git@example.com:group/a.git', 'ssh://git@example.com:2222/group/a.git', 'ssh://example.com/a.git'])
    expect(parse(`{url: "${url}", ssh_key_file: k, known_hosts_file: h}`)).toMatchObject({ url, sshKeyFile: '/etc/git/k' });
});

test.each([
  ['a password in the address', '{url: "https://me:secret@example.com/a.git"}', /must be an address of git without a password/],
  ['another protocol', '{url: "file:///srv/a.git"}', /must be an address of git/],
  ['an address that is an option', '{url: "--upload-pack=x"}', /must be an address of git/],
  ['ssh without a key', '{url: "git@example.com:a.git", known_hosts_file: h}', /ssh needs ssh_key_file/],
  ['ssh without known hosts', '{url: "git@example.com:a.git", ssh_key_file: k}', /ssh needs known_hosts_file/],
  [
    'a token for ssh',
    '{url: "git@example.com:a.git", ssh_key_file: k, known_hosts_file: h, token_file: t}',
    /token_file: is for https/,
  ],
  ['a key for https', '{url: "https://example.com/a.git", ssh_key_file: k}', /ssh_key_file: is for ssh/],
  ['a token without TLS', '{url: "http://example.com/a.git", token_file: t}', /readable for everybody/],
])('%s is refused', (_, remote, message) => {
  expect(() => parse(remote)).toThrow(message);
  expect(() => parse(remote)).not.toThrow(/me:secret/);
});

test('the token is in the environment, for its address alone, and on no command line', async () => {
  const folder = await temporaryFolder();
  try {
    await writeFile(join(folder, 'token'), 'secret\n', { mode: 0o600 });
    const remote = parse(`{url: "https://example.com/a.git", token_file: "${join(folder, 'token')}"}`)!;
    const environment = await remoteEnvironment(remote);
    const settings = Object.entries(environment).filter(([, value]) => value.includes('Authorization'));
    expect(settings).toEqual([
      [expect.stringMatching(/^GIT_CONFIG_VALUE_\d$/), `Authorization: Basic ${Buffer.from('git:secret').toString('base64')}`],
    ]);
    const key = environment[settings[0]![0].replace('VALUE', 'KEY')];
    expect(key).toBe('http.https://example.com/a.git.extraHeader');
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('ssh knows the given key and hosts only, whatever their paths hold', async () => {
  const remote = parse(`{url: "git@example.com:a.git", ssh_key_file: "/keys/it's mine", known_hosts_file: /keys/known}`)!;
  const command = (await remoteEnvironment(remote))['GIT_SSH_COMMAND'];
  expect(command).toContain(`-o 'IdentityFile="/keys/it'\\''s mine"'`);
  expect(command).toContain(`-o 'UserKnownHostsFile="/keys/known"'`);
  expect(command).toContain(`-o 'StrictHostKeyChecking="yes"'`);
});
