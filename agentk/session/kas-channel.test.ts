import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { callServerStream } from '../../lib/grpc/call.ts';
import { GrpcListener } from '../../lib/grpc/listener.ts';
import { Handlers } from '../../lib/grpc/serve.ts';
import { createLogger } from '../../lib/log.ts';
import {
  AgentConfigurationClient,
  AgentConfigurationService,
} from '../../proto/gen/gitlab/agent/agent_configuration/agent_configuration.ts';
import { ConnectProxy } from '../../test/harness/connect-proxy.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { openKasChannel, parseKasUrl } from './kas-channel.ts';

describe('parseKasUrl', () => {
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
});

describe('openKasChannel', () => {
  let folder: TempDir;
  let stop: AbortController;
  let running: Promise<void>;
  let port: number;
  let seen: (string | undefined)[];

  /** Something that answers as kas does: one configuration, with the token that it was asked with. */
  beforeEach(async () => {
    folder = await createTempDir();
    await writeFile(join(folder.path, 'token'), 'secret\n');
    stop = new AbortController();
    seen = [];
    const handlers = new Handlers(createLogger('kas', 'error'), stop.signal);
    const listener = new GrpcListener({
      name: 'kas',
      address: { host: '127.0.0.1', port: 0 },
      webSocketTunnel: true,
      graceMs: 100,
    });
    const getConfiguration = handlers.serverStreaming(async function* (_, { metadata }) {
      seen.push(metadata.get('authorization')[0]?.toString());
      yield { configuration: undefined, commitId: 'c' };
    });
    listener.serve([{ definition: AgentConfigurationService, handlers: { getConfiguration } }]);
    running = listener.run(() => undefined, stop.signal);
    port = (await listener.address).port;
  });

  afterEach(async () => {
    stop.abort();
    await running;
    await folder.remove();
  });

  async function ask(url: string, env: Record<string, string> = {}): Promise<string[]> {
    using channel = await openKasChannel(
      { url, tokenFile: join(folder.path, 'token'), caCertFile: undefined },
      { env, gzip: true },
    );
    const client = new AgentConfigurationClient(channel.target, channel.credentials, channel.options);
    const commits: string[] = [];
    const request = { commitId: '', agentMeta: undefined };
    const settings = { metadata: channel.metadata, timeoutMs: 20_000 };
    for await (const { commitId } of callServerStream(client.getConfiguration.bind(client), request, settings, stop.signal))
      commits.push(commitId);
    return commits;
  }

  test.each(['grpc://127.0.0.1:PORT', 'ws://127.0.0.1:PORT/-/kubernetes-agent/'])(
    '%s leads to kas, with the token',
    async (url) => {
      expect(await ask(url.replace('PORT', String(port)))).toEqual(['c']);
      expect(seen).toEqual(['Bearer secret']);
    },
  );

  test.each([
    ['grpc://kas.invalid:PORT', 'HTTPS_PROXY'],
    ['ws://kas.invalid:PORT/-/kubernetes-agent/', 'HTTP_PROXY'],
  ])('%s goes through the proxy of %s, with its credentials', async (url, variable) => {
    await using proxy = await ConnectProxy.listen({ authenticate: true });
    const env = { [variable]: `http://me:s%20t@127.0.0.1:${proxy.port}` };
    expect(await ask(url.replace('PORT', String(port)), env)).toEqual(['c']);
    const authorization = `Basic ${Buffer.from('me:s t').toString('base64')}`;
    expect(proxy.asked).toEqual([{ target: `kas.invalid:${port}`, authorization }]);
  });

  test('NO_PROXY names who is asked directly, and the lower-case variables of grpc-js mean nothing more', async () => {
    await using proxy = await ConnectProxy.listen();
    const address = `http://127.0.0.1:${proxy.port}`;
    const url = `grpc://127.0.0.1:${port}`;
    expect(await ask(url, { HTTPS_PROXY: address, grpc_proxy: address })).toEqual(['c']);
    await expect(ask(`grpc://kas.invalid:${port}`, { HTTPS_PROXY: address, NO_PROXY: 'kas.invalid' })).rejects.toThrow(/resol/);
    expect(proxy.asked).toEqual([]);
  });

  test('a proxy that is asked by TLS is refused with its reason', async () => {
    await expect(ask('grpc://kas.invalid:1', { HTTPS_PROXY: 'https://127.0.0.1:1' })).rejects.toThrow(
      /proxies of http:\/\/ only/,
    );
  });

  test('a redirect is not followed, and the error names where kas may be', async () => {
    const elsewhere: string[] = [];
    const server = createServer();
    server.on('upgrade', (request, socket) => {
      elsewhere.push(request.url ?? '');
      socket.end('HTTP/1.1 301 Moved\r\nlocation: /-/kubernetes-agent/\r\ncontent-length: 0\r\n\r\n');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/-/kubernetes-agent`;
    await expect(ask(url)).rejects.toThrow(/HTTP 301\): the server says it is at \/-\/kubernetes-agent\//);
    expect(new Set(elsewhere)).toEqual(new Set(['/-/kubernetes-agent']));
    server.close();
    server.closeAllConnections();
  });
});
