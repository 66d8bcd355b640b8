import { resolve } from 'node:path';
import { z } from 'zod';
import { byteSize, durationMs } from '../../lib/config-types.ts';

/** Where a repository is a copy of, with paths absolute. */
export interface RemoteConfig {
  /** `https://…`, `http://…`, `ssh://…` or `user@host:path`; without a password. */
  readonly url: string;
  readonly username: string;
  readonly tokenFile: string | undefined;
  readonly caCertificateFile: string | undefined;
  readonly sshKeyFile: string | undefined;
  readonly knownHostsFile: string | undefined;
  /** Of one fetch. */
  readonly timeLimitMs: number;
  /** Of what the repository takes up on disk. */
  readonly maxSizeBytes: number;
  /** Whether a branch may be replaced by one that does not build on it. */
  readonly allowForcePush: boolean;
}

const file = z.string().min(1, 'is empty; name a file');
const WEB = /^https?:\/\/[^/@\s]+\/[^\s]+$/;
const SSH = /^(?:ssh:\/\/(?:[\w.-]+@)?[^/@\s]+\/[^\s]+|[\w.-]+@[\w.-]+:[^\s]+)$/;
const LOOPBACK = /^http:\/\/(?:127\.\d+\.\d+\.\d+|localhost|\[::1\])(?::\d+)?\//;

export const remoteSchema = z
  .strictObject({
    url: z
      .string()
      .regex(
        new RegExp(`${WEB.source}|${SSH.source}`),
        'must be an address of git without a password; write it like https://github.com/shop/web.git or git@github.com:shop/web.git',
      ),
    username: z
      .string()
      .regex(/^[^:\s]+$/, 'must not have ":" or blanks')
      .default('git'),
    token_file: file.optional(),
    ca_certificate_file: file.optional(),
    ssh_key_file: file.optional(),
    known_hosts_file: file.optional(),
    time_limit: durationMs({ min: 1000 }).prefault('15m'),
    max_size: byteSize({ min: 1024 }).prefault('2Gi'),
    allow_force_push: z.boolean().default(true),
  })
  .superRefine(({ url, token_file, ca_certificate_file, ssh_key_file, known_hosts_file }, context) => {
    const issue = (key: string, message: string): void => context.addIssue({ code: 'custom', path: [key], message });
    if (WEB.test(url)) {
      for (const [key, value] of Object.entries({ ssh_key_file, known_hosts_file }))
        if (value !== undefined) issue(key, 'is for ssh; remove it, or write the address for ssh');
      if (token_file !== undefined && url.startsWith('http://') && !LOOPBACK.test(url))
        issue('token_file', 'would cross the network readable for everybody; write the address with https://');
      return;
    }
    for (const [key, value] of Object.entries({ token_file, ca_certificate_file }))
      if (value !== undefined) issue(key, 'is for https; remove it, or write the address for https');
    if (ssh_key_file === undefined) context.addIssue('ssh needs ssh_key_file, the file of a private key; add it');
    if (known_hosts_file === undefined)
      context.addIssue("ssh needs known_hosts_file, a file with the host's keys as ssh-keyscan writes it; add it");
  });

export function toRemoteConfig(remote: z.output<typeof remoteSchema>, folder: string): RemoteConfig {
  const path = (name: string | undefined): string | undefined => (name === undefined ? undefined : resolve(folder, name));
  return {
    url: remote.url,
    username: remote.username,
    tokenFile: path(remote.token_file),
    caCertificateFile: path(remote.ca_certificate_file),
    sshKeyFile: path(remote.ssh_key_file),
    knownHostsFile: path(remote.known_hosts_file),
    timeLimitMs: remote.time_limit,
    maxSizeBytes: remote.max_size,
    allowForcePush: remote.allow_force_push,
  };
}
