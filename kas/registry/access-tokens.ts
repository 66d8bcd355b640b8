import { createHash, randomBytes, randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { UserError } from '../../lib/errors.ts';
import { rewriteFile } from '../../lib/replace-file.ts';
import { readRegistryFile } from './registry-file.ts';

/** A token by which a person or a job reaches clusters, by its SHA-256: the file holds nothing that lets anybody in. */
const record = z.strictObject({
  kind: z.enum(['user', 'job']),
  /** A person's username, or the full path of a job's project. */
  owner: z.string(),
  /** Lower-case hex SHA-256 of the token. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  /** RFC 3339, as the next one. */
  createdAt: z.string(),
  expiresAt: z.iso.datetime({ offset: true }).optional(),
  /** Of jobs only. */
  job: z
    .strictObject({
      id: z.int(),
      environment: z.strictObject({ slug: z.string(), tier: z.string() }).optional(),
      /** Whether it works on a branch or tag that is protected. */
      protected: z.boolean(),
    })
    .optional(),
});

export type AccessTokenRecord = z.output<typeof record>;

const fileSchema = z.strictObject({ tokens: z.array(record) });

export type AccessTokenOwner =
  | { readonly kind: 'user'; readonly username: string }
  | {
      readonly kind: 'job';
      readonly project: string;
      readonly environment?: { readonly slug: string; readonly tier: string } | undefined;
      readonly protected: boolean;
    };

const PREFIXES = { user: 'kaspat-', job: 'kasjob-' } as const;
const TOKEN_BYTES = 32;
/** Who makes tokens waits for others who do, which is bounded. */
const NEVER = new AbortController().signal;

/**
 * Makes a token for a person or a project of the registry file and stores its hash. The token itself is kept nowhere: show it
 * once. Expired ones are removed by the way. UserError `UnknownUser` or `UnknownProject`.
 */
export async function createAccessToken(
  registryFile: string,
  owner: AccessTokenOwner,
  expiresAt: Date | undefined,
): Promise<string> {
  const file = await fileFor(registryFile, owner);
  const token = PREFIXES[owner.kind] + randomBytes(TOKEN_BYTES).toString('base64url');
  const now = new Date();
  await rewrite(file, (records) => [...records.filter((one) => !isExpired(one, now)), newRecord(owner, token, now, expiresAt)]);
  return token;
}

/** Forgets all tokens of a person, or of a project's jobs; the number of them. */
export async function revokeAccessTokens(registryFile: string, owner: AccessTokenOwner): Promise<number> {
  const file = await fileFor(registryFile, owner);
  const name = nameOf(owner);
  let revoked = 0;
  await rewrite(file, (records) => {
    const kept = records.filter((one) => one.kind !== owner.kind || one.owner !== name);
    revoked = records.length - kept.length;
    return kept;
  });
  return revoked;
}

export function hashAccessToken(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

export function isExpired({ expiresAt }: AccessTokenRecord, now: Date): boolean {
  return expiresAt !== undefined && new Date(expiresAt) <= now;
}

/** Records by hash; none when there is no such file. UserError when it is not what `createAccessToken` writes. */
export async function readAccessTokens(file: string): Promise<ReadonlyMap<string, AccessTokenRecord>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw new UserError(`Cannot read the access tokens ${file}: ${(error as Error).message}`, {
      reason: 'FileUnreadable',
      cause: error,
    });
  }
  return new Map(parse(text, file).map((one) => [one.hash, one]));
}

function parse(text: string, file: string): readonly AccessTokenRecord[] {
  try {
    return fileSchema.parse(JSON.parse(text)).tokens;
  } catch (error) {
    throw new UserError(`${file}:1: this is not a file of access tokens; restore it, or remove it and create the tokens anew.`, {
      reason: 'InvalidAccessTokens',
      cause: error,
    });
  }
}

function newRecord(owner: AccessTokenOwner, token: string, now: Date, expiresAt: Date | undefined): AccessTokenRecord {
  return {
    kind: owner.kind,
    owner: nameOf(owner),
    hash: hashAccessToken(token),
    createdAt: now.toISOString(),
    ...(expiresAt === undefined ? {} : { expiresAt: expiresAt.toISOString() }),
    ...(owner.kind === 'user'
      ? {}
      : {
          job: {
            id: randomInt(1, 2 ** 47),
            protected: owner.protected,
            ...(owner.environment === undefined ? {} : { environment: owner.environment }),
          },
        }),
  };
}

function nameOf(owner: AccessTokenOwner): string {
  return owner.kind === 'user' ? owner.username : owner.project;
}

/** Where its tokens are; UserError when the registry does not have it. */
async function fileFor(registryFile: string, owner: AccessTokenOwner): Promise<string> {
  const registry = await readRegistryFile(registryFile);
  const known = owner.kind === 'user' ? registry.users.has(owner.username) : registry.projects.has(owner.project);
  if (known) return registry.accessTokensFile;
  const what =
    owner.kind === 'user' ? `user "${owner.username}": add it to users` : `project "${owner.project}": add it to projects`;
  throw new UserError(`The registry ${registryFile} has no ${what} first.`, {
    kind: 'not_found',
    reason: owner.kind === 'user' ? 'UnknownUser' : 'UnknownProject',
  });
}

async function rewrite(
  file: string,
  change: (records: readonly AccessTokenRecord[]) => readonly AccessTokenRecord[],
): Promise<void> {
  await rewriteFile(
    file,
    'access tokens',
    async () => {
      const tokens = change([...(await readAccessTokens(file)).values()]);
      return `${JSON.stringify({ tokens }, undefined, 2)}\n`;
    },
    NEVER,
  );
}
