import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
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
import { createLogger } from '../log.ts';
import { callBidi } from './call.ts';
import { GrpcListener, type GrpcListenerOptions } from './listener.ts';
import { Handlers } from './serve.ts';

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

test('a call that ends by itself when the server drains ends with OK', async () => {
  const { port, running, stop } = await start({ graceMs: 10_000 });
  const { client, first, ended } = await talking(port);
  expect(first).toBe('hello');
  stop();
  expect((await ended).done).toBe(true);
  await running;
  client.close();
});

test('a call that does not is told that the server is gone when the grace is over', async () => {
  const { port, running, stop } = await start({}, false);
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
  const first = await start({});
  await expect(start({ address: { host: '127.0.0.1', port: first.port } })).rejects.toThrow(
    `echo server: cannot listen on 127.0.0.1:${first.port}`,
  );
  first.stop();
  await first.running;
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

  it('speaks TLS', async () => {
    const { port, running, stop } = await start({ tls: files });
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
});
