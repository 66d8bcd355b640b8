import { readFile } from 'node:fs/promises';
import { toError, UserError } from '../../lib/errors.ts';
import type { RemoteConfig } from './remote-config.ts';

const SSH_CONNECT_TIMEOUT_S = 20;
/** A transfer below this speed for so long has stalled. */
const SLOWEST_BYTES_PER_S = 100;
const SLOW_FOR_S = 60;

/**
 * What git needs to know to reach a remote, by its environment: no command line shows it, and nothing of it is written.
 * Only the protocols that a configuration can name are spoken, and redirects are not followed: a credential goes nowhere
 * else. The token file is read each time. UserError `RemoteCredentialUnreadable`.
 */
export async function remoteEnvironment(remote: RemoteConfig): Promise<Record<string, string>> {
  const settings: [string, string][] = [
    ['safe.directory', '*'],
    ['http.followRedirects', 'false'],
    ['http.lowSpeedLimit', String(SLOWEST_BYTES_PER_S)],
    ['http.lowSpeedTime', String(SLOW_FOR_S)],
    ['gc.autoDetach', 'false'],
    ['maintenance.autoDetach', 'false'],
  ];
  if (remote.caCertificateFile !== undefined) settings.push(['http.sslCAInfo', remote.caCertificateFile]);
  if (remote.tokenFile !== undefined) {
    const credential = Buffer.from(`${remote.username}:${await readToken(remote.tokenFile)}`).toString('base64');
    settings.push([`http.${remote.url}.extraHeader`, `Authorization: Basic ${credential}`]);
  }
  const environment: Record<string, string> = {
    GIT_ALLOW_PROTOCOL: 'https:http:ssh',
    GIT_CONFIG_COUNT: String(settings.length),
  };
  for (const [index, [key, value]] of settings.entries()) {
    environment[`GIT_CONFIG_KEY_${index}`] = key;
    environment[`GIT_CONFIG_VALUE_${index}`] = value;
  }
  const { sshKeyFile, knownHostsFile } = remote;
  if (sshKeyFile !== undefined && knownHostsFile !== undefined)
    environment['GIT_SSH_COMMAND'] = sshCommand(sshKeyFile, knownHostsFile);
  return environment;
}

/** ssh with this key and these hosts, and nothing of the machine's configuration. */
function sshCommand(keyFile: string, knownHostsFile: string): string {
  const options = {
    IdentityFile: keyFile,
    IdentitiesOnly: 'yes',
    IdentityAgent: 'none',
    UserKnownHostsFile: knownHostsFile,
    GlobalKnownHostsFile: '/dev/null',
    StrictHostKeyChecking: 'yes',
    BatchMode: 'yes',
    ConnectTimeout: String(SSH_CONNECT_TIMEOUT_S),
    ServerAliveInterval: '15',
  };
  // ssh takes quotes for paths with blanks; the shell that git starts takes the others.
  const words = Object.entries(options).map(([key, value]) => `-o ${quoted(`${key}="${value}"`)}`);
  return ['ssh', '-F', '/dev/null', ...words].join(' ');
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

async function readToken(file: string): Promise<string> {
  try {
    const token = (await readFile(file, 'utf8')).trim();
    if (token !== '') return token;
  } catch (error) {
    throw unreadable(`Cannot read the token file ${file}: ${toError(error).message}`, error);
  }
  throw unreadable(`The token file ${file} is empty: put the token into it.`);
}

function unreadable(message: string, cause?: unknown): UserError {
  return new UserError(message, { kind: 'precondition', reason: 'RemoteCredentialUnreadable', cause });
}
