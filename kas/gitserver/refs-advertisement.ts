import { UserError } from '../../lib/errors.ts';
import { startGit } from './git-process.ts';
import type { RepositoryPath } from './storages.ts';

export type GitService = 'upload-pack' | 'receive-pack';

export interface AdvertisementOptions {
  /** The client's wish, "version=2" for example; what is no known version is ignored. */
  readonly protocol: string;
  /** `key=value` each. */
  readonly config?: readonly string[];
}

const FLUSH = '0000';

/** The wishes that are handed to git. Source: gitlab-org/gitaly v16, internal/git/protocol.go. */
const PROTOCOLS = new Set(['version=1', 'version=2']);

/** What a caller may configure: which refs are shown and what may be fetched. Other settings make git run programs or write files. */
const CONFIG = /^(?:transfer|uploadpack)\.(?:hiderefs|allow[a-z0-9]+|advertise[a-z0-9]+)=/i;

/** The environment that hands a client's wish for a protocol version to git. */
export function protocolEnvironment(protocol: string): Record<string, string> {
  return PROTOCOLS.has(protocol) ? { GIT_PROTOCOL: protocol } : {};
}

/**
 * The answer to `GET info/refs?service=git-<service>`: the banner, a flush, and what git prints at this moment. Never
 * from a cache. Source: git's gitprotocol-http(5); gitlab-org/gitaly v16, internal/gitaly/service/smarthttp/inforefs.go.
 */
export async function* advertiseRefs(
  service: GitService,
  repository: RepositoryPath,
  options: AdvertisementOptions,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const config = (options.config ?? []).flatMap((option) => {
    if (!CONFIG.test(option)) throw new UserError(`configuration that is not taken from callers: ${JSON.stringify(option)}`);
    return ['-c', option];
  });
  const { child, ended } = startGit(
    [...config, service, '--stateless-rpc', '--advertise-refs', '.'],
    { cwd: repository.path, env: protocolEnvironment(options.protocol) },
    signal,
  );
  child.stdin.end();
  const banner = `# service=git-${service}\n`;
  let head = Buffer.from(`${(banner.length + FLUSH.length).toString(16).padStart(4, '0')}${banner}${FLUSH}`);
  let outputEnded = false;
  try {
    // The banner waits for the first of git's output, so that a failure of git can still be told as one.
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      yield head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      head = Buffer.alloc(0);
    }
    outputEnded = true;
  } finally {
    if (!outputEnded) child.kill('SIGTERM');
  }
  await ended;
  if (head.length > 0) yield head;
}
