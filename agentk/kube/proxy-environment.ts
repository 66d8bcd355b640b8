import { BlockList, isIP } from 'node:net';
import { UserError } from '../../lib/errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy that the environment names for a server, as for kubectl and all programs in Go (golang.org/x/net/http/httpproxy):
 * HTTPS_PROXY, or HTTP_PROXY for an `http:` server, with the exceptions of NO_PROXY, upper case before lower. Servers on this
 * machine are never asked through one. Throws a `UserError` when it is not a proxy that can be used.
 */
export function proxyFromEnvironment(server: URL, env: Environment): URL | undefined {
  const name = server.protocol === 'http:' ? 'HTTP_PROXY' : 'HTTPS_PROXY';
  const text = env[name] || env[name.toLowerCase()] || '';
  if (text === '' || isExempt(server, env['NO_PROXY'] || env['no_proxy'] || '')) return undefined;
  return parseProxy(text, name);
}

/** `source` is what a person knows the text by. */
export function parseProxy(text: string, source: string): URL {
  const withScheme = text.includes('://') ? text : `http://${text}`;
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') {
    throw new UserError(`${source} must be a URL that starts with http:// or https://, and is "${withoutPassword(text)}"`, {
      reason: 'UnsupportedProxy',
    });
  }
  return url;
}

function isExempt(server: URL, exceptions: string): boolean {
  const host = server.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || isWithin(host, '127.0.0.0/8') || host === '::1') return true;
  const port = server.port || (server.protocol === 'http:' ? '80' : '443');
  return exceptions
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry !== '' && covers(entry, host, port));
}

function covers(entry: string, host: string, port: string): boolean {
  if (entry === '*' || entry === host) return true;
  if (entry.includes('/')) return isWithin(host, entry);
  const [, name = entry, onlyPort = port] = /^(.+):(\d+)$/.exec(isIP(entry) === 6 ? '' : entry) ?? [];
  if (onlyPort !== port) return false;
  const address = name.replace(/^\[|\]$/g, '');
  if (isIP(address) !== 0) return address === host;
  // `.example.com` and `*.example.com` are what is below, `example.com` is itself too.
  const domain = name.replace(/^\*?\./, '');
  return host.endsWith(`.${domain}`) || (domain === name && host === domain);
}

function isWithin(host: string, network: string): boolean {
  const version = isIP(host);
  const [base = '', bits = ''] = network.split('/');
  if (version === 0 || isIP(base) !== version || !/^\d{1,3}$/.test(bits) || Number(bits) > (version === 4 ? 32 : 128))
    return false;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(base, Number(bits), family);
  return list.check(host, family);
}

function withoutPassword(text: string): string {
  return text.replace(/\/\/[^@/]*@/, '//');
}
