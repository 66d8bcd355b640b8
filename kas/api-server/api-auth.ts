import { readFile } from 'node:fs/promises';
import type { Metadata } from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';
import { decodeJwtSecret, verifyJwt } from '../../lib/jwt.ts';

/** Checks who calls the API, from metadata `authorization: Bearer <JWT>`. */
export class ApiAuth {
  readonly #secret: Uint8Array;

  constructor(secret: Uint8Array) {
    this.#secret = secret;
  }

  /** Who signed the token: `gitlab`. Rejects with UserError `unauthenticated`. */
  async authenticate(metadata: Metadata): Promise<string> {
    const values = metadata.get('authorization');
    const match = /^bearer +(\S+)$/i.exec(String(values[0] ?? ''));
    if (values.length !== 1 || match?.[1] === undefined)
      throw new UserError('JWT validation failed', { kind: 'unauthenticated', reason: 'InvalidJwt' });
    return (await verifyJwt(match[1], this.#secret)).issuer;
  }
}

/**
 * The secret shared with RoR and tools. UserError when the file cannot be read or does not hold 32 bytes in base64.
 * @param encoding `raw`: the secret is the file as it is, which must not be empty
 */
export async function readApiSecret(file: string, encoding: 'base64' | 'raw' = 'base64'): Promise<Uint8Array> {
  let content: Buffer;
  try {
    content = await readFile(file);
  } catch (error) {
    throw new UserError(`Cannot read the API secret ${file}: ${(error as Error).message}`, {
      reason: 'FileUnreadable',
      cause: error,
    });
  }
  if (encoding === 'base64') return decodeJwtSecret(content.toString('utf8'), file);
  if (content.length === 0) throw new UserError(`${file} is empty; put the API secret into it`);
  return new Uint8Array(content);
}
