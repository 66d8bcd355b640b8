import { createHmac } from 'node:crypto';
import { UserError, type UserErrorKind } from './errors.ts';
import { signGitalyToken, verifyGitalyToken } from './gitaly-token.ts';

const NOW = new Date('2026-01-02T03:04:05Z');
const SECONDS = NOW.getTime() / 1000;
const SECRET = 'the secret';

function after(seconds: number): Date {
  return new Date(NOW.getTime() + seconds * 1000);
}

function refusal(authorization: string | undefined, now: Date = NOW): UserErrorKind {
  try {
    verifyGitalyToken(authorization, SECRET, now);
  } catch (error) {
    if (error instanceof UserError) return error.kind;
    throw error;
  }
  throw new Error('was accepted');
}

it('signs the Unix time with HMAC-SHA256', () => {
  const mac = createHmac('sha256', SECRET).update(String(SECONDS)).digest('hex');
  expect(signGitalyToken(SECRET, NOW)).toBe(`Bearer v2.${mac}.${SECONDS}`);
});

it.each([-30, -1, 0, 1, 30])('accepts a token when the clocks are %i seconds apart', (seconds) => {
  expect(() => verifyGitalyToken(signGitalyToken(SECRET, NOW), SECRET, after(seconds))).not.toThrow();
});

it.each([-31, 31, 3600])('refuses a token when the clocks are %i seconds apart', (seconds) => {
  expect(refusal(signGitalyToken(SECRET, NOW), after(seconds))).toBe('forbidden');
});

it('takes the scheme in any case', () => {
  expect(() => verifyGitalyToken(signGitalyToken(SECRET, NOW).replace('Bearer', 'bearer'), SECRET, NOW)).not.toThrow();
});

it('forbids a token of another secret, another version or for another time', () => {
  expect(refusal(signGitalyToken('another', NOW))).toBe('forbidden');
  expect(refusal(signGitalyToken(SECRET, NOW).replace('v2.', 'v1.'))).toBe('forbidden');
  expect(refusal(signGitalyToken(SECRET, NOW).replace(/\d+$/, String(SECONDS + 1)))).toBe('forbidden');
});

it('forbids a signed message that is not a time', () => {
  const mac = createHmac('sha256', SECRET).update('soon').digest('hex');
  expect(refusal(`Bearer v2.${mac}.soon`)).toBe('forbidden');
});

it.each([undefined, '', 'Bearer', 'Bearer x', 'Basic dTpw', 'Bearer v2.zz.1', 'v2.00.1', `Bearer v2.${SECONDS}`])(
  'asks for authentication when given %p',
  (authorization) => {
    expect(refusal(authorization)).toBe('unauthenticated');
  },
);
