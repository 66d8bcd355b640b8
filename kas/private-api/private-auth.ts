import { readFile } from 'node:fs/promises';
import { Metadata } from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';
import { decodeJwtSecret, signJwt, verifyJwt } from '../../lib/jwt.ts';

const ISSUER = 'kas';
/** Other than that of the API: a token for one port is worth nothing at the other, even if both have the same secret. */
const AUDIENCE = 'kas-private-api';

/** Proves one replica to another, by a JWT that is signed with the secret all replicas share. */
export class PrivateAuth {
  readonly #secret: Uint8Array;

  constructor(secret: Uint8Array) {
    this.#secret = secret;
  }

  /** UserError when the file cannot be read or does not hold 32 bytes in base64. */
  static async open(secretFile: string): Promise<PrivateAuth> {
    let text: string;
    try {
      text = await readFile(secretFile, 'utf8');
    } catch (error) {
      throw new UserError(`Cannot read the secret of the private API ${secretFile}: ${(error as Error).message}`, {
        reason: 'FileUnreadable',
        cause: error,
      });
    }
    return new PrivateAuth(decodeJwtSecret(text, secretFile));
  }

  /** For one call: its token is good for a minute. */
  async metadata(): Promise<Metadata> {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${await signJwt(this.#secret, { issuer: ISSUER, audience: AUDIENCE })}`);
    return metadata;
  }

  /** Checks the metadata of a call. Rejects with UserError `unauthenticated`. */
  async authenticate(metadata: Metadata): Promise<void> {
    const values = metadata.get('authorization');
    const match = /^bearer +(\S+)$/i.exec(String(values[0] ?? ''));
    if (values.length !== 1 || match?.[1] === undefined)
      throw new UserError('JWT validation failed', { kind: 'unauthenticated', reason: 'InvalidJwt' });
    await verifyJwt(match[1], this.#secret, { audience: AUDIENCE });
  }
}
