import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { byteSize, listenAddress } from '../../lib/config-types.ts';
import { UserError } from '../../lib/errors.ts';
import type { ListenAddress } from '../../lib/listen-address.ts';
import type { LogLevel } from '../../lib/log.ts';
import { parseYamlConfig } from '../../lib/yaml-config.ts';
import { type RemoteConfig, remoteSchema, toRemoteConfig } from './remote-config.ts';
import type { Storage } from './storages.ts';

/** What the git server works by: the configuration file with defaults filled in and paths absolute. */
export interface GitServerConfig {
  readonly grpcAddress: ListenAddress;
  readonly httpAddress: ListenAddress;
  readonly storages: readonly Storage[];
  /** File with the secret that Gitaly tokens are signed with; without it gRPC callers are not asked for a token. */
  readonly tokenFile: string | undefined;
  /** Machine-owned file with the hashes of push tokens; written by `token create`, read again whenever it changes. */
  readonly pushTokensFile: string;
  readonly projects: readonly ProjectConfig[];
  readonly notify: NotifyConfig | undefined;
  readonly limits: Limits;
  readonly logLevel: LogLevel;
}

export interface ProjectConfig {
  readonly storage: string;
  readonly relativePath: string;
  /** Hexadecimal SHA-256 of each push token. */
  readonly pushTokenHashes: readonly string[];
  /** Whether it can be cloned without a token. */
  readonly public: boolean;
  /** What the repository is a copy of; undefined for one that is pushed to. */
  readonly remote?: RemoteConfig | undefined;
}

export interface NotifyConfig {
  /** `host:port` of kas' API. */
  readonly target: string;
  /** File with base64 of 32 bytes. */
  readonly secretFile: string;
}

export interface Limits {
  /** Of one HTTP request, inflated. */
  readonly maxBodyBytes: number;
  readonly maxIdleProcesses: number;
  readonly maxConcurrentStreams: number;
}

const file = z.string().min(1, 'is empty; name a file');
const storageName = z.string().regex(/^[\w.-]+$/, 'must be made of letters, digits, ".", "_" and "-"');
const relativePath = z
  .string()
  .regex(
    /^(?!\/)(?!.*(?:^|\/)\.{0,2}(?:\/|$)).+\.git$/,
    'must be the path of a repository in its storage; write it like group/project.git',
  );
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in 64 hexadecimal digits');

const project = z.strictObject({
  storage: storageName.default('default'),
  relative_path: relativePath,
  push_token_sha256: z.array(sha256).default([]),
  public: z.boolean().default(false),
  remote: remoteSchema.optional(),
});

const notify = z.strictObject({
  address: z.string().regex(/^grpc:\/\/[^/]+:\d+$/, "must be the address of kas' API; write it like grpc://127.0.0.1:8153"),
  secret_file: file,
});

const limits = z.strictObject({
  max_body_size: byteSize({ min: 1024 }).prefault('1Gi'),
  max_idle_git_processes: z.int().min(1).default(32),
  max_concurrent_blob_streams: z.int().min(1).default(32),
});

/** What may be written into the file. */
export const gitServerConfigSchema = z.strictObject({
  listen: z
    .strictObject({
      grpc: listenAddress().prefault('127.0.0.1:8075'),
      http: listenAddress().prefault('127.0.0.1:8090'),
    })
    .prefault({}),
  storages: z.array(z.strictObject({ name: storageName, path: file })).min(1, 'is empty; name a storage'),
  token_file: file.optional(),
  push_tokens_file: file.default('push-tokens.json'),
  projects: z.array(project).default([]),
  notify: notify.optional(),
  limits: limits.prefault({}),
  logging: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).prefault({}),
});

const checked = gitServerConfigSchema.superRefine(({ storages, projects }, context) => {
  for (const [index, { name }] of storages.entries())
    if (storages.findIndex((other) => other.name === name) !== index)
      context.addIssue({
        code: 'custom',
        path: ['storages', index, 'name'],
        message: 'is used by another storage; choose another name',
      });
  for (const [index, { storage, relative_path }] of projects.entries()) {
    if (!storages.some(({ name }) => name === storage))
      context.addIssue({
        code: 'custom',
        path: ['projects', index, 'storage'],
        message: `there is no storage ${JSON.stringify(storage)}`,
      });
    if (projects.findIndex((other) => other.relative_path === relative_path) !== index)
      context.addIssue({
        code: 'custom',
        path: ['projects', index, 'relative_path'],
        message: 'is used by another project; remove one',
      });
  }
});

/** Reads the configuration file. Relative paths in it start at its folder. UserError with file and line when it is wrong. */
export async function loadGitServerConfig(path: string): Promise<GitServerConfig> {
  return parseGitServerConfig(await readText(path, 'configuration file'), path);
}

export function parseGitServerConfig(text: string, path: string): GitServerConfig {
  const { listen, storages, token_file, push_tokens_file, projects, notify, limits, logging } = parseYamlConfig(
    text,
    path,
    checked,
  );
  const folder = dirname(resolve(path));
  return {
    grpcAddress: listen.grpc,
    httpAddress: listen.http,
    storages: storages.map((storage) => ({ name: storage.name, path: resolve(folder, storage.path) })),
    tokenFile: token_file === undefined ? undefined : resolve(folder, token_file),
    pushTokensFile: resolve(folder, push_tokens_file),
    projects: projects.map((each) => ({
      storage: each.storage,
      relativePath: each.relative_path,
      pushTokenHashes: each.push_token_sha256,
      public: each.public,
      remote: each.remote === undefined ? undefined : toRemoteConfig(each.remote, folder),
    })),
    notify:
      notify === undefined
        ? undefined
        : { target: notify.address.slice('grpc://'.length), secretFile: resolve(folder, notify.secret_file) },
    limits: {
      maxBodyBytes: limits.max_body_size,
      maxIdleProcesses: limits.max_idle_git_processes,
      maxConcurrentStreams: limits.max_concurrent_blob_streams,
    },
    logLevel: logging.level,
  };
}

/** A text file's content; UserError that names the file when it cannot be read. */
export async function readText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new UserError(`Cannot read the ${what} ${path}: ${(error as Error).message}`, {
      reason: 'FileUnreadable',
      cause: error,
    });
  }
}
