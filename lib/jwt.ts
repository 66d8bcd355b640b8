import { jwtVerify, SignJWT } from 'jose';
import { UserError } from './errors.ts';

/** Audience of tokens for kas' API, as GitLab's Rails application sets it. */
export const KAS_AUDIENCE = 'gitlab-kas';

const NOT_BEFORE_SKEW_S = 5;
const LIFETIME_S = 60;
const LEEWAY_S = 5;
const SECRET_BYTES = 32;

export interface SignJwtOptions {
  /** Who signs: `gitlab`, `kas-gitserver`, … */
  readonly issuer: string;
  readonly audience?: string | string[];
  /** A minute by default. */
  readonly lifetimeSeconds?: number;
  /** Beside the standard ones. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly now?: Date;
}

export interface VerifyJwtOptions {
  readonly audience?: string;
  readonly now?: Date;
}

export interface VerifiedJwt {
  readonly issuer: string;
  /** All that the token says. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/**
 * A token of the kind GitLab sends to kas and kas to GitLab: HS256, `aud`, `iss`, `iat`, `nbf` five seconds back, `exp`.
 * Source: gitlab-org/gitlab, lib/gitlab/kas/client.rb; gitlab-org/gitlab-agent, internal/tool/grpctool/jwt.go.
 */
export async function signJwt(secret: Uint8Array, options: SignJwtOptions): Promise<string> {
  const nowS = Math.floor((options.now ?? new Date()).getTime() / 1000);
  return await new SignJWT({ ...options.claims })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuer(options.issuer)
    .setAudience(options.audience ?? KAS_AUDIENCE)
    .setIssuedAt(nowS)
    .setNotBefore(nowS - NOT_BEFORE_SKEW_S)
    .setExpirationTime(nowS + (options.lifetimeSeconds ?? LIFETIME_S))
    .sign(secret);
}

/**
 * Checks a token: HS256 and nothing else, the audience among `aud`, an expiry, and every time claim with five seconds
 * of leeway. Rejects with UserError `unauthenticated`, whose message never says what was wrong (the cause does).
 */
export async function verifyJwt(token: string, secret: Uint8Array, options: VerifyJwtOptions = {}): Promise<VerifiedJwt> {
  try {
    const { payload } = await jwtVerify(token, secret, {
      algorithms: ['HS256'],
      audience: options.audience ?? KAS_AUDIENCE,
      clockTolerance: LEEWAY_S,
      requiredClaims: ['exp'],
      ...(options.now === undefined ? {} : { currentDate: options.now }),
    });
    return { issuer: payload.iss ?? '', claims: payload };
  } catch (error) {
    throw new UserError('JWT validation failed', { kind: 'unauthenticated', reason: 'InvalidJwt', cause: error });
  }
}

/** The content of a secret file: base64 of 32 bytes, line breaks allowed. Throws UserError, never with the content. */
export function decodeJwtSecret(text: string, file: string): Uint8Array {
  const base64 = text.replaceAll(/\s/g, '');
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) throw new UserError(`${file}: decoding: not base64`);
  const secret = Buffer.from(base64, 'base64');
  if (secret.length !== SECRET_BYTES)
    throw new UserError(`${file}: decoding: expecting ${SECRET_BYTES} bytes, was ${secret.length}`);
  return new Uint8Array(secret);
}
