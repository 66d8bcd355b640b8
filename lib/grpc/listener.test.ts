import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  type CallOptions,
  ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type Metadata,
  makeGenericClientConstructor,
} from '@grpc/grpc-js';
import { WebSocket } from 'ws';
import { createLogger } from '../log.ts';
import { callBidi } from './call.ts';
import { GrpcListener, type GrpcListenerOptions } from './listener.ts';
import { Handlers } from './serve.ts';
import { TunnelCredentials } from './tunnel/credentials.ts';

const definition = {
  talk: {
    path: '/test.Echo/Talk',
    requestStream: true,
    responseStream: true,
    requestSerialize: (value: Buffer) => value,
    requestDeserialize: (value: Buffer) => value,
    responseSerialize: (value: Buffer) => value,
    responseDeserialize: (value: Buffer) => value,
  },
} as const;

interface EchoClient extends Client {
  talk(metadata: Metadata, options: Partial<CallOptions>): ClientDuplexStream<Buffer, Buffer>;
}

const EchoClient = makeGenericClientConstructor(definition, 'Echo') as unknown as {
  new (address: string, credentials: ChannelCredentials): EchoClient;
};

const log = createLogger('test', 'error');

/** A listener whose one call echoes; with `politely` it ends when the server drains. */
async function start(options: Partial<GrpcListenerOptions>, politely = true) {
  const listener = new GrpcListener({ name: 'echo server', address: { host: '127.0.0.1', port: 0 }, graceMs: 300, ...options });
  const handlers = new Handlers(log, listener.forced);
  async function* talk(requests: AsyncIterable<Buffer>) {
    for await (const request of requests) {
      yield request;
      if (!politely) continue;
      await new Promise((resolve) => listener.draining.addEventListener('abort', resolve));
      return;
    }
  }
  listener.serve([{ definition, handlers: { talk: handlers.bidi(talk) } }]);
  const controller = new AbortController();
  const running = listener.run(() => undefined, controller.signal);
  running.catch(() => undefined);
  const { port } = await listener.address;
  return { port, running, stop: () => controller.abort(new Error('stop')) };
}

async function talking(port: number, credentials = ChannelCredentials.createInsecure(), host = '127.0.0.1') {
  const client = new EchoClient(`${host}:${port}`, credentials);
  const call = callBidi(client.talk.bind(client), {}, AbortSignal.timeout(10_000));
  const responses = call.responses[Symbol.asyncIterator]();
  await call.send(Buffer.from('hello'));
  return { client, first: String((await responses.next()).value), ended: responses.next() };
}

describe.each([
  ['alone', false],
  ['beside the WebSocket tunnel', true],
])('gRPC %s', (_, webSocketTunnel) => {
  test('a call that ends by itself when the server drains ends with OK', async () => {
    const { port, running, stop } = await start({ webSocketTunnel, graceMs: 10_000 });
    const { client, first, ended } = await talking(port);
    expect(first).toBe('hello');
    stop();
    expect((await ended).done).toBe(true);
    await running;
    client.close();
  });

  test('a call that does not is told that the server is gone when the grace is over', async () => {
    const { port, running, stop } = await start({ webSocketTunnel }, false);
    const { client, ended } = await talking(port);
    ended.catch(() => undefined);
    const before = performance.now();
    stop();
    await expect(ended).rejects.toMatchObject({ name: 'UnavailableError' });
    await running;
    expect(performance.now() - before).toBeLessThan(5_000);
    client.close();
  });

  test('a port that is taken is one clear message', async () => {
    const first = await start({ webSocketTunnel });
    await expect(start({ webSocketTunnel, address: { host: '127.0.0.1', port: first.port } })).rejects.toThrow(
      `echo server: cannot listen on 127.0.0.1:${first.port}`,
    );
    first.stop();
    await first.running;
  });
});

describe('with a certificate', () => {
  let folder: string;
  let files: { certificateFile: string; keyFile: string };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'listener-'));
    files = { certificateFile: join(folder, 'crt.pem'), keyFile: join(folder, 'key.pem') };
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', files.keyFile];
    await promisify(execFile)('openssl', ['req', '-x509', ...key, '-out', files.certificateFile, '-days', '2', ...subject]);
  });

  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it.each([[false], [true]])('speaks TLS, with the tunnel: %s', async (webSocketTunnel) => {
    const { port, running, stop } = await start({ tls: files, webSocketTunnel });
    const credentials = ChannelCredentials.createSsl(await readFile(files.certificateFile));
    const { client, first, ended } = await talking(port, credentials, 'localhost');
    expect(first).toBe('hello');
    stop();
    await ended;
    await running;
    client.close();
  });

  it('that is not there, it does not start', async () => {
    const tls = { ...files, keyFile: join(folder, 'missing.pem') };
    await expect(start({ tls })).rejects.toThrow(/echo server: cannot use its certificate or key: .*missing\.pem/);
  });

  it('speaks gRPC in a WebSocket as well', async () => {
    const { port, running, stop } = await start({ tls: files, webSocketTunnel: true });
    const target = {
      url: new URL(`wss://localhost:${port}/any/path`),
      ca: await readFile(files.certificateFile),
      userAgent: 't',
    };
    const { client, first, ended } = await talking(port, new TunnelCredentials(target), 'localhost');
    expect(first).toBe('hello');
    stop();
    expect((await ended).done).toBe(true);
    await running;
    client.close();
  });

  it('is not trusted by a client with other authorities', async () => {
    const { port, running, stop } = await start({ tls: files, webSocketTunnel: true });
    const target = { url: new URL(`wss://localhost:${port}/`), ca: undefined, userAgent: 't' };
    await expect(talking(port, new TunnelCredentials(target), 'localhost')).rejects.toThrow(/self-signed certificate/);
    stop();
    await running;
  });
});

describe('gRPC in a WebSocket', () => {
  const tunnel = (port: number, path = '/-/kubernetes-agent/'): TunnelCredentials =>
    new TunnelCredentials({ url: new URL(`ws://127.0.0.1:${port}${path}`), ca: undefined, userAgent: 'test/1' });

  it('carries calls, and ends them with OK when the server drains', async () => {
    const { port, running, stop } = await start({ webSocketTunnel: true, graceMs: 10_000 });
    const { client, first, ended } = await talking(port, tunnel(port));
    expect(first).toBe('hello');
    stop();
    expect((await ended).done).toBe(true);
    await running;
    client.close();
  });

  it('is told that the server is gone when the grace is over', async () => {
    const { port, running, stop } = await start({ webSocketTunnel: true }, false);
    const { client, ended } = await talking(port, tunnel(port));
    ended.catch(() => undefined);
    stop();
    await expect(ended).rejects.toMatchObject({ name: 'UnavailableError' });
    await running;
    client.close();
  });

  it('closes a WebSocket of another protocol and names the right one', async () => {
    const { port, running, stop } = await start({ webSocketTunnel: true });
    const webSocket = new WebSocket(`ws://127.0.0.1:${port}/`, 'chat');
    webSocket.on('error', () => undefined);
    const [code, reason] = await new Promise<[number, string]>((resolve) =>
      webSocket.once('close', (closeCode, text) => resolve([closeCode, String(text)])),
    );
    // A client that insists on its own protocol fails the handshake by itself, RFC 6455, section 4.1.
    expect([1002, 1006]).toContain(code);
    const bare = new WebSocket(`ws://127.0.0.1:${port}/`);
    const closed = await new Promise<[number, string]>((resolve) =>
      bare.once('close', (closeCode, text) => resolve([closeCode, String(text)])),
    );
    expect(closed).toEqual([1002, 'expected the subprotocol "ws-tunnel", got ""']);
    expect(reason).not.toContain('ws-tunnel"');
    stop();
    await running;
  });

  it('answers plain HTTP with what the port is for', async () => {
    const { port, running, stop } = await start({ webSocketTunnel: true });
    const response = await fetch(`http://127.0.0.1:${port}/`);
    expect([response.status, await response.text()]).toEqual([404, 'this port speaks gRPC, also through a WebSocket\n']);
    stop();
    await running;
  });

  it('does not follow a redirect, and says where it leads', async () => {
    const http = createServer((_, response) => response.end()).on('upgrade', (_, socket) =>
      socket.end('HTTP/1.1 301 Moved Permanently\r\nlocation: ws://elsewhere.example/agent/\r\ncontent-length: 0\r\n\r\n'),
    );
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const { port } = http.address() as AddressInfo;
    await expect(talking(port, tunnel(port, '/agent'))).rejects.toThrow(
      /is no WebSocket of kas \(HTTP 301\): the server says it is at ws:\/\/elsewhere\.example\/agent\//,
    );
    http.close();
  });

  it('survives garbage on the port', async () => {
    const { port, running, stop } = await start({ webSocketTunnel: true });
    for (const garbage of ['PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n', 'GET', '\x00\x01\x02', 'P']) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      await new Promise<void>((resolve) => socket.end(garbage, resolve));
    }
    const { client, first, ended } = await talking(port, tunnel(port));
    expect(first).toBe('hello');
    stop();
    await ended;
    await running;
    client.close();
  });
});
