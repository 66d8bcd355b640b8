import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { UserError } from '../../lib/errors.ts';
import { rewriteFile } from '../../lib/replace-file.ts';
import type { ProjectConfig } from './config.ts';

const PREFIX = 'kaspush-';
const TOKEN_BYTES = 32;

/** Which repository a token belongs to. */
export interface TokenScope {
  readonly storage: string;
  readonly relativePath: string;
}

const tokensFile = z.strictObject({
  tokens: z.array(
    z.strictObject({
      storage: z.string(),
      relative_path: z.string(),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
      created_at: z.string(),
    }),
  ),
});

type TokensFile = z.infer<typeof tokensFile>;

/** The push tokens of all projects: those of the configuration, and those in the tokens file as it is at the moment. */
export class PushTokens {
  readonly #file: string;
  readonly #projects: readonly ProjectConfig[];
  #version = '';
  #content: TokensFile = { tokens: [] };

  constructor(file: string, projects: readonly ProjectConfig[]) {
    this.#file = file;
    this.#projects = projects;
  }

  /** Whether `token` may push to the repository. Compares with every hash in constant time. */
  async allows(scope: TokenScope, token: string): Promise<boolean> {
    await this.#refresh();
    const given = createHash('sha256').update(token).digest();
    let allowed = false;
    for (const hash of this.#hashes(scope)) if (timingSafeEqual(given, Buffer.from(hash, 'hex'))) allowed = true;
    return allowed;
  }

  #hashes({ storage, relativePath }: TokenScope): string[] {
    const configured = this.#projects.filter((project) => project.storage === storage && project.relativePath === relativePath);
    const created = this.#content.tokens.filter((token) => token.storage === storage && token.relative_path === relativePath);
    return [...configured.flatMap((project) => project.pushTokenHashes), ...created.map(({ sha256 }) => sha256)];
  }

  /** Every change replaces the file, so inode, time and size tell one version from the next. */
  async #refresh(): Promise<void> {
    const found = await stat(this.#file, { bigint: true }).catch(() => undefined);
    const version = found === undefined ? '' : `${found.ino}:${found.mtimeNs}:${found.size}`;
    if (version === this.#version) return;
    this.#content = await readTokens(this.#file);
    this.#version = version;
  }
}

/** Makes a new push token and stores its hash. The token is returned this once. */
export async function createPushToken(file: string, scope: TokenScope, signal: AbortSignal): Promise<string> {
  const token = PREFIX + randomBytes(TOKEN_BYTES).toString('base64url');
  const sha256 = createHash('sha256').update(token).digest('hex');
  await mkdir(dirname(file), { recursive: true });
  const entry = { storage: scope.storage, relative_path: scope.relativePath, sha256, created_at: new Date().toISOString() };
  const content = async (): Promise<string> => {
    const { tokens } = await readTokens(file);
    return `${JSON.stringify({ tokens: [...tokens, entry] }, undefined, 2)}\n`;
  };
  await rewriteFile(file, 'push tokens', content, signal);
  return token;
}

async function readTokens(file: string): Promise<TokensFile> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { tokens: [] };
    throw error;
  }
  try {
    return tokensFile.parse(JSON.parse(text));
  } catch {
    // The cause would quote the content, which may be a token that somebody put there by mistake.
    throw new UserError(`${file}: is not a file of push tokens; remove it and make new tokens`);
  }
}
