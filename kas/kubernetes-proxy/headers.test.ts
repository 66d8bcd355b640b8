import { answerHeaders, requestHeaders } from './headers.ts';

test('credentials and what is of one connection do not go on to the cluster', () => {
  const sent = requestHeaders({
    authorization: 'Bearer pat:1:secret',
    cookie: 'session=secret',
    'x-remote-user': 'root',
    'x-csrf-token': 'secret',
    'gitlab-agent-id': '1',
    connection: 'keep-alive, x-hop',
    'x-hop': '1',
    'transfer-encoding': 'chunked',
    ':authority': 'kas',
    host: 'kas',
    accept: 'application/json',
    'user-agent': 'kubectl',
    'impersonate-user': 'ann',
  });
  expect(sent).toEqual([
    { name: 'accept', value: 'application/json' },
    { name: 'user-agent', value: 'kubectl' },
    { name: 'impersonate-user', value: 'ann' },
  ]);
});

test('a token among the protocols of a WebSocket stays here', () => {
  const protocols = (value: string) => requestHeaders({ 'sec-websocket-protocol': value }).map((header) => header.value);
  expect(protocols('base64url.bearer.authorization.k8s.io.c2VjcmV0, v5.channel.k8s.io')).toEqual(['v5.channel.k8s.io']);
  expect(protocols('base64url.bearer.authorization.k8s.io.c2VjcmV0')).toEqual([]);
});

test('an answer keeps its headers but those of its connection, of other pages, and cookies', () => {
  const headers = answerHeaders([
    { name: 'Content-Type', value: 'application/json' },
    { name: 'warning', value: 'first' },
    { name: 'warning', value: 'second' },
    { name: 'connection', value: 'close' },
    { name: 'access-control-allow-origin', value: '*' },
    { name: 'set-cookie', value: 'a=b' },
  ]);
  expect(Object.fromEntries(headers)).toEqual({ 'content-type': ['application/json'], warning: ['first', 'second'] });
});
