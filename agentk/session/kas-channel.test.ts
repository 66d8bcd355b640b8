import { parseKasUrl } from './kas-channel.ts';

test.each([
  ['grpc://kas:8150', 'kas:8150', false, undefined],
  ['grpcs://kas.example.com:443', 'kas.example.com:443', true, undefined],
  ['grpc://[::1]:8150/', '[::1]:8150', false, undefined],
  ['ws://kas.example.com/-/kubernetes-agent/', 'kas.example.com:80', false, 'ws://kas.example.com/-/kubernetes-agent/'],
  ['wss://kas.example.com/-/kubernetes-agent', 'kas.example.com:443', true, 'wss://kas.example.com/-/kubernetes-agent'],
  ['wss://kas:8150', 'kas:8150', true, 'wss://kas:8150/'],
])('%s leads to %s', (url, authority, tls, webSocket) => {
  const target = parseKasUrl(url);
  expect([target.authority, target.tls, target.webSocket?.href]).toEqual([authority, tls, webSocket]);
});

test.each(['kas:8150', 'http://kas', 'grpc://', 'grpc://kas/path', 'wss://user:secret@kas/', 'ws://kas/?a=b', 'wss://ka s/'])(
  '%s is refused with the schemes there are',
  (url) => {
    expect(() => parseKasUrl(url)).toThrow(/unsupported address of kas.*grpcs:\/\/.*wss:\/\//);
  },
);
