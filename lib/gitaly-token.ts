import { createHmac, timingSafeEqual } from 'node:crypto';
import { UserError } from './errors.ts';

/**
 * Gitaly's v2 authentication: metadata `authorization: Bearer v2.<hex HMAC-SHA256(secret, ts)>.<ts>` with `ts` in Unix
 * seconds. A token is no secret for longer than the clock skew that the server allows.
 * Source: gitlab-org/gitaly, auth/rpccredentials.go and auth/token.go.
 */
const ALLOWED_SKEW_S = 30;

/** Version, signature in hex, message. */
const BEARER = /^bearer ([^.]*)\.((?:[0-9a-f]{2})*)\.(.*)$/i;

/** The value for the metadata key `authorization`. */
export function signGitalyToken(secret: string, now: Date = new Date()): string {
  const timestamp = String(Math.floor(now.getTime() / 1000));
  return `Bearer v2.${hmac(secret, timestamp).toString('hex')}.${timestamp}`;
}

/**
 * Checks the value of the metadata key `authorization`; comparison in constant time. As upstream: what does not have the
 * shape of a token is `unauthenticated`; another version, a wrong signature, or a time more than 30 seconds away is `forbidden`.
 */
export function verifyGitalyToken(authorization: string | undefined, secret: string, now: Date = new Date()): void {
  const [, version, signature, timestamp] = BEARER.exec(authorization ?? '') ?? [];
  if (version === undefined || signature === undefined || timestamp === undefined)
    throw new UserError('authentication required', { kind: 'unauthenticated' });
  const genuine = version === 'v2' && isSignature(signature, hmac(secret, timestamp));
  const skewS = Math.abs(Number(timestamp) - now.getTime() / 1000);
  // A timestamp that is no number makes the skew NaN, which is not within anything.
  if (!genuine || !(skewS <= ALLOWED_SKEW_S)) throw new UserError('permission denied', { kind: 'forbidden' });
}

function isSignature(hex: string, expected: Buffer): boolean {
  const given = Buffer.from(hex, 'hex');
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function hmac(secret: string, timestamp: string): Buffer {
  return createHmac('sha256', secret).update(timestamp).digest();
}
