import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { Header, Impersonation } from '../../proto/gen/kas/agent/v1/tunnel.ts';

/** Headers of one connection, RFC 9110, section 7.6.1. */
const OF_CONNECTION = new Set([
  'connection',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** What a caller may not say: who we are is told by our own credentials. */
const CREDENTIALS = /^(?:authorization|cookie|x-remote-.*)$/;

/** For a request of our own in the name of the caller. */
export function requestHeaders(headers: readonly Header[]): OutgoingHttpHeaders {
  const result: Record<string, string | string[]> = {};
  for (const { name, value } of headers) {
    const key = name.toLowerCase();
    if (key.startsWith(':') || OF_CONNECTION.has(key) || CREDENTIALS.test(key)) continue;
    const present = result[key];
    if (present === undefined) result[key] = value;
    else if (Array.isArray(present)) present.push(value);
    else result[key] = [present, value];
  }
  return result;
}

/** Of an answer, without those of its connection. */
export function answerHeaders(headers: IncomingHttpHeaders): Header[] {
  const result: Header[] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(':') || OF_CONNECTION.has(name)) continue;
    for (const one of Array.isArray(value) ? value : [value]) result.push({ name, value: one });
  }
  return result;
}

/** https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/ */
export function impersonationHeadersOf({ username, groups, uid, extra }: Impersonation): OutgoingHttpHeaders {
  const headers: Record<string, string | string[]> = { 'impersonate-user': username };
  if (groups.length > 0) headers['impersonate-group'] = groups;
  if (uid !== '') headers['impersonate-uid'] = uid;
  for (const { key, values } of extra) headers[`impersonate-extra-${escapeKey(key)}`] = values;
  return headers;
}

/** Keys are lower case; what a header's name cannot have is percent-encoded. */
function escapeKey(key: string): string {
  return encodeURIComponent(key.toLowerCase())
    .toLowerCase()
    .replace(/[()]/g, (found) => `%${found.charCodeAt(0).toString(16)}`);
}

export function asksForImpersonation(headers: OutgoingHttpHeaders): boolean {
  return Object.keys(headers).some((name) => name.startsWith('impersonate-'));
}
