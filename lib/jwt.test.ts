import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { decodeJwt, SignJWT } from 'jose';
import { UserError } from './errors.ts';
import { decodeJwtSecret, KAS_AUDIENCE, signJwt, verifyJwt } from './jwt.ts';

const SECRET = new Uint8Array(randomBytes(32));
const NOW = new Date('2026-01-02T03:04:05Z');
const SECONDS = NOW.getTime() / 1000;

function after(seconds: number): Date {
  return new Date(NOW.getTime() + seconds * 1000);
}

/** How the token is refused; null when it is not. */
async function refusal(token: string, now: Date = NOW): Promise<string | null> {
  return await verifyJwt(token, SECRET, { now }).then(
    () => null,
    (error: unknown) => (error instanceof UserError ? `${error.kind}: ${error.message}` : String(error)),
  );
}

const REFUSED = 'unauthenticated: JWT validation failed';

it('signs with the claims that GitLab sends', async () => {
  const token = await signJwt(SECRET, { issuer: 'kas-gitserver', now: NOW });
  expect(decodeJwt(token)).toEqual({
    iss: 'kas-gitserver',
    aud: KAS_AUDIENCE,
    iat: SECONDS,
    nbf: SECONDS - 5,
    exp: SECONDS + 60,
  });
  await expect(verifyJwt(token, SECRET, { now: NOW })).resolves.toMatchObject({ issuer: 'kas-gitserver' });
});

it('accepts the audience as one of several', async () => {
  const token = await new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setAudience(['other', KAS_AUDIENCE])
    .setExpirationTime(SECONDS + 60)
    .sign(SECRET);
  await expect(verifyJwt(token, SECRET, { now: NOW })).resolves.toMatchObject({ issuer: '' });
});

it('allows a few seconds between the clocks and no more', async () => {
  const token = await signJwt(SECRET, { issuer: 'gitlab', now: NOW });
  await expect(verifyJwt(token, SECRET, { now: after(63) })).resolves.toBeDefined();
  await expect(verifyJwt(token, SECRET, { now: after(-9) })).resolves.toBeDefined();
  expect(await refusal(token, after(66))).toBe(REFUSED);
  expect(await refusal(token, after(-11))).toBe(REFUSED);
});

it('refuses another secret, another audience, a changed token and no token', async () => {
  expect(await refusal(await signJwt(new Uint8Array(randomBytes(32)), { issuer: 'gitlab', now: NOW }))).toBe(REFUSED);
  expect(await refusal(await signJwt(SECRET, { issuer: 'gitlab', audience: 'other', now: NOW }))).toBe(REFUSED);
  const [header, , signature] = (await signJwt(SECRET, { issuer: 'gitlab', now: NOW })).split('.');
  const payload = Buffer.from(JSON.stringify({ aud: KAS_AUDIENCE, exp: SECONDS + 9999 })).toString('base64url');
  expect(await refusal(`${header}.${payload}.${signature}`)).toBe(REFUSED);
  expect(await refusal('')).toBe(REFUSED);
  expect(await refusal('a.b.c')).toBe(REFUSED);
});

it('refuses a token without audience and one that never expires', async () => {
  const header = { alg: 'HS256' };
  expect(
    await refusal(
      await new SignJWT({})
        .setProtectedHeader(header)
        .setExpirationTime(SECONDS + 60)
        .sign(SECRET),
    ),
  ).toBe(REFUSED);
  expect(await refusal(await new SignJWT({}).setProtectedHeader(header).setAudience(KAS_AUDIENCE).sign(SECRET))).toBe(REFUSED);
});

it('refuses every algorithm but HS256', async () => {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { aud: KAS_AUDIENCE, exp: SECONDS + 60 };
  expect(await refusal(`${encode({ alg: 'none' })}.${encode(claims)}.`)).toBe(REFUSED);
  expect(
    await refusal(
      await new SignJWT(claims).setProtectedHeader({ alg: 'HS512' }).sign(new Uint8Array(Buffer.concat([SECRET, SECRET]))),
    ),
  ).toBe(REFUSED);
  expect(
    await refusal(
      await new SignJWT(claims).setProtectedHeader({ alg: 'HS384' }).sign(new Uint8Array(Buffer.concat([SECRET, SECRET]))),
    ),
  ).toBe(REFUSED);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  expect(await refusal(await new SignJWT(claims).setProtectedHeader({ alg: 'ES256' }).sign(privateKey))).toBe(REFUSED);
});

it('reads a secret file and names it when it is bad, without its content', () => {
  const base64 = Buffer.from(SECRET).toString('base64');
  for (const text of [base64, `${base64}\n`, `${base64.slice(0, 20)}\r\n${base64.slice(20)}\n`])
    expect(decodeJwtSecret(text, 'f')).toEqual(SECRET);
  for (const [text, message] of [
    ['', 'expecting 32 bytes, was 0'],
    [Buffer.alloc(31).toString('base64'), 'expecting 32 bytes, was 31'],
    [`${Buffer.alloc(32).toString('base64')}!`, 'not base64'],
  ] as const)
    expect(() => decodeJwtSecret(text, '/etc/secret')).toThrow(new UserError(`/etc/secret: decoding: ${message}`));
});
