import { UnavailableError, UserError } from '../../lib/errors.ts';

interface Rule {
  readonly pattern: RegExp;
  readonly reason: string;
  /** What it means and what to do, after the address. */
  readonly says: string;
}

/** What git, curl and ssh write (in English) when a person has to act. The first that matches decides. */
const RULES: readonly Rule[] = [
  {
    pattern: /REMOTE HOST IDENTIFICATION HAS CHANGED/,
    reason: 'RemoteHostKeyChanged',
    says: 'shows another host key than the one in known_hosts_file: find out why, and put the new key there if it is right.',
  },
  {
    pattern: /Host key verification failed|No .* host key is known for/,
    reason: 'RemoteHostKeyUnknown',
    says: 'has a host key that known_hosts_file does not list: check it and add it there.',
  },
  {
    pattern: /UNPROTECTED PRIVATE KEY FILE|Load key .*: |no such identity: |Identity file .* not accessible/,
    reason: 'RemoteCredentialUnreadable',
    says: 'cannot be reached: ssh cannot use ssh_key_file. It must be a private key that nobody else may read (mode 0600).',
  },
  {
    pattern: /Authentication failed|could not read (?:Username|Password)|returned error: 40[13]|Permission denied \(/,
    reason: 'RemoteAuthenticationFailed',
    says: 'refuses the credential: check that it is still valid and may read the repository.',
  },
  {
    pattern: /unable to update url base from redirection|returned error: 30[1278]|redirect/i,
    reason: 'RemoteMoved',
    says: 'has moved: it answers with a redirect. Set url to its new address.',
  },
  {
    pattern:
      /repository '.*' not found|returned error: 404|does not appear to be a git repository|[Rr]epository not found|not valid: is this a git repository/,
    reason: 'RemoteNotFound',
    says: 'has no such repository, or hides it from this credential.',
  },
  {
    pattern: /SSL certificate problem|certificate verif|CAfile|unable to get local issuer/i,
    reason: 'RemoteCertificateUntrusted',
    says: 'shows a certificate that is not trusted: name its authority in ca_certificate_file.',
  },
  {
    pattern: /\(non-fast-forward\)/,
    reason: 'RemoteBranchRewritten',
    says: 'has a branch that was replaced by one that does not build on it (a forced push): the copy stays as it is while allow_force_push is false.',
  },
];

/** What a failed git command means. Neither message holds a credential: addresses have none, and git does not print headers. */
export function remoteError(url: string, stderr: string, cause: unknown): Error {
  const rule = RULES.find(({ pattern }) => pattern.test(stderr));
  if (rule !== undefined)
    return new UserError(`The remote ${url} ${rule.says}`, { kind: 'precondition', reason: rule.reason, cause });
  const line = stderr.split('\n').find((text) => /^(?:fatal|error|ssh):/.test(text)) ?? 'git failed';
  return new UnavailableError(`The remote ${url} cannot be copied now: ${line.slice(0, MAX_DETAIL)}`, { cause });
}

const MAX_DETAIL = 300;
