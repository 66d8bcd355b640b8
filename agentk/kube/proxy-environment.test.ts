import { UserError } from '../../lib/errors.ts';
import { proxyFromEnvironment } from './proxy-environment.ts';

const PROXY = { HTTPS_PROXY: 'http://proxy.corp:3128' };

function proxyOf(server: string, env: Record<string, string>): string | undefined {
  return proxyFromEnvironment(new URL(server), env)?.host;
}

test.each([
  ['its own variable', { HTTPS_PROXY: 'http://a:1', https_proxy: 'http://b:2' }, 'a:1'],
  ['the lower-case one where there is no other', { https_proxy: 'https://b:2' }, 'b:2'],
  ['a host and port as HTTP', { HTTPS_PROXY: 'a:1' }, 'a:1'],
  ['nothing when it is empty', { HTTPS_PROXY: '' }, undefined],
  ['nothing from HTTP_PROXY, which is for plain HTTP', { HTTP_PROXY: 'http://a:1' }, undefined],
])('takes %s', (_, env, expected) => {
  expect(proxyOf('https://api.example', env as Record<string, string>)).toBe(expected);
});

test('a plain HTTP server has a variable of its own', () => {
  const env = { ...PROXY, HTTP_PROXY: 'http://plain.corp:3128', NO_PROXY: 'b.example:80' };
  expect(proxyOf('http://a.example', env)).toBe('plain.corp:3128');
  expect(proxyOf('http://b.example', env)).toBeUndefined();
});

test.each([
  ['https://localhost:6443', ''],
  ['https://127.0.0.2:6443', ''],
  ['https://[::1]:6443', ''],
  ['https://api.example.com', '*'],
  ['https://api.example.com', 'other, Example.com'],
  ['https://example.com', 'example.com'],
  ['https://api.example.com', '.example.com'],
  ['https://api.example.com', '*.example.com'],
  ['https://api.example.com:6443', 'example.com:6443'],
  ['https://10.96.0.1', '10.0.0.0/8'],
  ['https://10.96.0.1', '10.96.0.1'],
  ['https://10.96.0.1', '10.96.0.1:443'],
  ['https://[fd00::1]:6443', 'fd00::/8'],
  ['https://[fd00::1]:6443', '[fd00::1]:6443'],
])('%s goes without a proxy when NO_PROXY is "%s"', (server, exceptions) => {
  expect(proxyOf(server, { ...PROXY, NO_PROXY: exceptions })).toBeUndefined();
});

test.each([
  ['https://api.example.com', ''],
  ['https://myexample.com', 'example.com'],
  ['https://example.com', '.example.com'],
  ['https://api.example.com:6443', 'example.com:443'],
  ['https://11.0.0.1', '10.0.0.0/8'],
  ['https://10.96.0.1', '10.0.0.0/99'],
  ['https://10.96.0.10', '10.96.0.1'],
])('%s goes through the proxy when NO_PROXY is "%s"', (server, exceptions) => {
  expect(proxyOf(server, { ...PROXY, no_proxy: exceptions })).toBe('proxy.corp:3128');
});

test('a proxy of another kind is refused, without its password', () => {
  const wrong = (): unknown => proxyOf('https://api.example', { HTTPS_PROXY: 'socks5://jo:secret@proxy:1' });
  expect(wrong).toThrow(UserError);
  expect(wrong).toThrow('HTTPS_PROXY must be a URL that starts with http:// or https://, and is "socks5://proxy:1"');
});
