import type { IncomingHttpHeaders } from 'node:http';
import type { Header } from '../../proto/gen/kas/agent/v1/tunnel.ts';

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

/** What proves somebody to kas, or would prove somebody to an API server that trusts its proxies. */
const CREDENTIALS = /^(?:authorization|cookie|gitlab-agent-id|x-csrf-token|x-remote-.*)$/;
/** How browsers send a token with a WebSocket. */
const TOKEN_PROTOCOL = /^base64url\.bearer\.authorization\.k8s\.io\./;
/** Of the browser's page that the cluster thinks it serves. */
const CORS = /^access-control-/;

/** What goes on to the cluster. */
export function requestHeaders(headers: IncomingHttpHeaders): Header[] {
  const named = namedByConnection(headers);
  return flat(headers)
    .filter(({ name }) => !named.has(name) && !OF_CONNECTION.has(name) && !CREDENTIALS.test(name))
    .flatMap((header) => (header.name === 'sec-websocket-protocol' ? withoutToken(header) : [header]));
}

/** What goes back to the caller, by name. */
export function answerHeaders(headers: readonly Header[]): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const { name, value } of headers) {
    const key = name.toLowerCase();
    if (key.startsWith(':') || OF_CONNECTION.has(key) || CORS.test(key) || key === 'set-cookie') continue;
    const values = result.get(key);
    if (values === undefined) result.set(key, [value]);
    else values.push(value);
  }
  return result;
}

function flat(headers: IncomingHttpHeaders): Header[] {
  return Object.entries(headers).flatMap(([name, value]) => {
    if (value === undefined || name.startsWith(':')) return [];
    return (Array.isArray(value) ? value : [value]).map((one) => ({ name, value: one }));
  });
}

function namedByConnection({ connection = '' }: IncomingHttpHeaders): ReadonlySet<string> {
  return new Set(
    connection
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  );
}

function withoutToken({ name, value }: Header): Header[] {
  const kept = value
    .split(',')
    .map((protocol) => protocol.trim())
    .filter((protocol) => !TOKEN_PROTOCOL.test(protocol));
  return kept.length === 0 ? [] : [{ name, value: kept.join(', ') }];
}
