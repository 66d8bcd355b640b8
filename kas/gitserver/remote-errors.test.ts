import { remoteError } from './remote-errors.ts';

const URL = 'ssh://git@example.com/shop/web.git';
const NO_READ = `fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.`;

/** As OpenSSH 9.2 and git 2.39 wrote it to a real sshd's refusals. */
test.each([
  [
    'RemoteHostKeyUnknown',
    `No ED25519 host key is known for [127.0.0.1]:22922 and you have requested strict checking.\nHost key verification failed.\n${NO_READ}`,
  ],
  [
    'RemoteHostKeyChanged',
    `@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Host key verification failed.
${NO_READ}`,
  ],
  ['RemoteAuthenticationFailed', `git@127.0.0.1: Permission denied (publickey,keyboard-interactive).\n${NO_READ}`],
  [
    'RemoteCredentialUnreadable',
    `@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @
Permissions 0644 for '/keys/deploy' are too open.
Load key "/keys/deploy": bad permissions
git@127.0.0.1: Permission denied (publickey).
${NO_READ}`,
  ],
  [
    'RemoteCredentialUnreadable',
    `no such identity: /keys/deploy: No such file or directory\ngit@127.0.0.1: Permission denied (publickey).\n${NO_READ}`,
  ],
  ['RemoteNotFound', `fatal: '/srv/none.git' does not appear to be a git repository\n${NO_READ}`],
])('%s is told from what ssh and git write', (reason, stderr) => {
  const cause = new Error('git');
  expect(remoteError(URL, stderr, cause)).toMatchObject({ name: 'UserError', kind: 'precondition', reason, cause });
});

test('a host that is away is unavailable, and says how it showed', () => {
  const stderr = `ssh: connect to host 127.0.0.1 port 22923: Connection refused\n${NO_READ}`;
  expect(remoteError(URL, stderr, undefined)).toMatchObject({
    name: 'UnavailableError',
    message: `The remote ${URL} cannot be copied now: ssh: connect to host 127.0.0.1 port 22923: Connection refused`,
  });
});
