import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

export type GitHost = 'github' | 'gitlab' | 'gitea' | 'bitbucket';

/** A request as it came. */
export interface SignedRequest {
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** How old a signature with a time may be, in either direction. */
const TOLERANCE_S = 300;
const SIGNING_TOKEN = 'whsec_';
/** Source: standardwebhooks.com. */
const LEAST_KEY_BYTES = 24;

/** Headers of which one must be there for a request to be looked at. */
export const SIGNATURE_HEADERS: Readonly<Record<GitHost, readonly string[]>> = {
  github: ['x-hub-signature-256'],
  gitlab: ['x-gitlab-token', 'webhook-signature'],
  gitea: ['x-gitea-signature', 'x-forgejo-signature'],
  bitbucket: ['x-hub-signature'],
};

/**
 * Whether the host that knows the secret sent this. Comparisons take the same time for every wrong value.
 * Sources: docs.github.com "Validating webhook deliveries"; docs.gitlab.com "Webhooks"; docs.gitea.com "Webhooks";
 * support.atlassian.com "Manage webhooks" (all SHA-256); standardwebhooks.com for GitLab's signing tokens (`whsec_…`).
 */
export function isSigned(host: GitHost, { headers, body }: SignedRequest, secret: string, nowMs = Date.now()): boolean {
  switch (host) {
    case 'github':
      return isHexHmac(prefixed(headers['x-hub-signature-256']), body, secret);
    case 'bitbucket':
      return isHexHmac(prefixed(headers['x-hub-signature']), body, secret);
    case 'gitea':
      return isHexHmac(text(headers['x-gitea-signature'] ?? headers['x-forgejo-signature']), body, secret);
    case 'gitlab':
      return secret.startsWith(SIGNING_TOKEN)
        ? isStandardWebhook(headers, body, secret, nowMs)
        : isSame(Buffer.from(text(headers['x-gitlab-token']), 'latin1'), Buffer.from(secret));
  }
}

/** Whether nobody can make signatures of a source without having been told its secret. */
export function isUsableSecret(host: GitHost, secret: string): boolean {
  if (host !== 'gitlab' || !secret.startsWith(SIGNING_TOKEN)) return secret !== '';
  return signingKey(secret).length >= LEAST_KEY_BYTES;
}

function signingKey(secret: string): Buffer {
  return Buffer.from(secret.slice(SIGNING_TOKEN.length), 'base64');
}

/** `v1,<base64>`, several apart by spaces, over `<id>.<time>.<body>`. */
function isStandardWebhook(headers: IncomingHttpHeaders, body: Buffer, secret: string, nowMs: number): boolean {
  const [id, time] = [text(headers['webhook-id']), text(headers['webhook-timestamp'])];
  if (id === '' || !/^\d{1,15}$/.test(time) || Math.abs(nowMs / 1000 - Number(time)) > TOLERANCE_S) return false;
  const expected = createHmac('sha256', signingKey(secret)).update(`${id}.${time}.`).update(body).digest();
  const given = text(headers['webhook-signature']).split(' ');
  return given.some((one) => one.startsWith('v1,') && isSame(Buffer.from(one.slice(3), 'base64'), expected));
}

function isHexHmac(hex: string, body: Buffer, secret: string): boolean {
  return isSame(Buffer.from(hex, 'hex'), createHmac('sha256', secret).update(body).digest());
}

/** `sha256=<hex>` */
function prefixed(value: string | string[] | undefined): string {
  return /^sha256=([0-9a-f]{64})$/.exec(text(value))?.[1] ?? '';
}

function text(value: string | string[] | undefined): string {
  return typeof value === 'string' ? value : '';
}

function isSame(given: Buffer, expected: Buffer): boolean {
  // Of digests, so that the length of a secret does not show.
  const [a, b] = [given, expected].map((bytes) => createHmac('sha256', COMPARED).update(bytes).digest());
  return a !== undefined && b !== undefined && timingSafeEqual(a, b);
}

const COMPARED = 'compared';
