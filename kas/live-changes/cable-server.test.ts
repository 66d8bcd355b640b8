import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { signJwt } from '../../lib/jwt.ts';
import { formatListenAddress } from '../../lib/listen-address.ts';
import { createLogger } from '../../lib/log.ts';
import { createServingCertificate } from '../../test/harness/certificate.ts';
import { createTempDir } from '../../test/harness/temp-dir.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { CABLE_PROTOCOL } from './cable-messages.ts';
import { CABLE_AUDIENCE, CableServer } from './cable-server.ts';
import { liveChange } from './live-change-log.contract.ts';
import { KEPT_CHANGES } from './live-change-log.ts';
import { MemoryLiveChangeLog } from './memory-live-change-log.ts';

/** What the test uses of the unmodified package @rails/actioncable. */
interface ActionCable {
  readonly adapters: { WebSocket: unknown };
  createConsumer(url: string): Consumer;
}

interface Consumer {
  readonly subscriptions: { create(channel: object, mixin: object): { unsubscribe(): void } };
  disconnect(): void;
}

const secret = new Uint8Array(randomBytes(32));
const stop = new AbortController();
let changes: MemoryLiveChangeLog;
let server: CableServer;
let running: Promise<void>;
let address: string;
let cable: ActionCable;

beforeAll(async () => {
  changes = new MemoryLiveChangeLog();
  const options = { address: { host: '127.0.0.1', port: 0 }, secret, changes, log: createLogger('test', 'error') };
  server = new CableServer(options);
  running = server.run(() => undefined, stop.signal);
  address = formatListenAddress(await server.address);
  // A browser tells the consumer when its page is looked at.
  Object.assign(globalThis, { addEventListener: () => undefined, removeEventListener: () => undefined });
  cable = createRequire(import.meta.url)('@rails/actioncable') as ActionCable;
  cable.adapters.WebSocket = WebSocket;
});

afterAll(async () => {
  stop.abort(new Error('The test is over'));
  await running;
});

async function url(claims: Record<string, unknown>, audience = CABLE_AUDIENCE): Promise<string> {
  return `ws://${address}/cable?token=${await signJwt(secret, { issuer: 'gitlab', audience, claims })}`;
}

/** A page with one subscription. */
class Page implements Disposable {
  readonly events: string[] = [];
  readonly received: { readonly type: string; readonly name: string; readonly cursor: string; readonly object: unknown }[] = [];
  readonly #consumer: Consumer;
  readonly #subscription: { unsubscribe(): void };

  constructor(address: string, channel: object) {
    this.#consumer = cable.createConsumer(address);
    const { events, received } = this;
    this.#subscription = this.#consumer.subscriptions.create(
      { channel: 'AgentChannel', ...channel },
      {
        connected: () => void events.push('connected'),
        disconnected: () => void events.push('disconnected'),
        rejected: () => void events.push('rejected'),
        received: (message: never) => void received.push(message),
      },
    );
  }

  async until(event: string): Promise<void> {
    await waitUntil(() => this.events.includes(event), { what: `"${event}" in ${JSON.stringify(this.events)}` });
  }

  async untilReceived(name: string): Promise<void> {
    await waitUntil(() => this.received.some((message) => message.name === name), { what: `news of ${name}` });
  }

  unsubscribe(): void {
    this.#subscription.unsubscribe();
  }

  [Symbol.dispose](): void {
    this.#consumer.disconnect();
  }
}

it('tells the consumer of Rails of changes of the agents that its token names, and of the kinds it wants', async () => {
  using page = new Page(await url({ agent_ids: [1] }), { agent_id: 1, kinds: ['Pod', 'Deployment.apps'] });
  using other = new Page(await url({ agent_ids: [1] }), { agent_id: 2 });
  await page.until('connected');
  await other.until('rejected');
  await changes.append([
    liveChange(1, 'hidden', { kind: 'Node' }),
    liveChange(1, 'web', { object: '{"status":{"phase":"Running"}}' }),
  ]);
  await changes.append([liveChange(2, 'foreign')]);
  await changes.append([liveChange(1, 'api', { group: 'apps', kind: 'Deployment', type: 'deleted' })]);
  await page.untilReceived('api');
  expect(page.received.map(({ type, name }) => `${type} ${name}`)).toEqual(['modified web', 'deleted api']);
  expect(page.received[0]?.object).toEqual({ status: { phase: 'Running' } });
  expect(other.received).toEqual([]);
});

it('goes on after the cursor of a page that was away, and says when that is too far back', async () => {
  using page = new Page(await url({ agent_ids: [3] }), { agent_id: 3 });
  await page.until('connected');
  await changes.append([liveChange(3, 'a')]);
  await page.untilReceived('a');
  const cursor = page.received[0]?.cursor;
  await changes.append([liveChange(3, 'b')]);
  using again = new Page(await url({ agent_ids: [3] }), { agent_id: 3, cursor });
  await again.untilReceived('b');
  expect(again.received.map(({ name }) => name)).toEqual(['b']);

  await changes.append(Array.from({ length: KEPT_CHANGES + 1 }, (_, index) => liveChange(3, `c-${index}`)));
  using late = new Page(await url({ agent_ids: [3] }), { agent_id: 3, cursor });
  await waitUntil(() => late.received[0]?.type === 'reset', { what: 'the word to list again' });
});

it('sends nothing after unsubscribing', async () => {
  using page = new Page(await url({ agent_ids: [4] }), { agent_id: 4 });
  using witness = new Page(await url({ agent_ids: [4] }), { agent_id: 4 });
  await page.until('connected');
  await witness.until('connected');
  page.unsubscribe();
  using later = new Page(await url({ agent_ids: [4] }), { agent_id: 4 });
  await later.until('connected');
  await changes.append([liveChange(4, 'x')]);
  await witness.untilReceived('x');
  expect(page.received).toEqual([]);
});

it.each([
  ['no token', async () => `ws://${address}/cable`],
  ['a token for the API port', async () => await url({ agent_ids: [1] }, 'gitlab-kas')],
  ['a token that names no agents', async () => await url({})],
  [
    'a token that has expired',
    async () => {
      const claims = { agent_ids: [1] };
      const old = { issuer: 'gitlab', audience: CABLE_AUDIENCE, claims, now: new Date(Date.now() - 3_600_000) };
      return `ws://${address}/cable?token=${await signJwt(secret, old)}`;
    },
  ],
  [
    "somebody else's token",
    async () => {
      const claims = { agent_ids: [1] };
      return `ws://${address}/cable?token=${await signJwt(new Uint8Array(32), { issuer: 'gitlab', audience: CABLE_AUDIENCE, claims })}`;
    },
  ],
])('refuses %s', async (_what, makeUrl) => {
  const socket = new WebSocket(await makeUrl(), CABLE_PROTOCOL);
  const status = await new Promise((resolve) => {
    socket.on('unexpected-response', (_request, response) => resolve(response.statusCode));
    socket.on('error', () => undefined);
    socket.on('open', () => resolve('open'));
  });
  expect(status).toBe(401);
  socket.terminate();
});

it('answers garbage with nothing, or by refusing it, and goes on', async () => {
  const socket = new WebSocket(await url({ agent_ids: [5] }), CABLE_PROTOCOL);
  const heard: string[] = [];
  socket.on('message', (data: Buffer) => heard.push(data.toString('utf8')));
  await new Promise((resolve) => socket.once('open', resolve));
  const identifier = JSON.stringify({ channel: 'AgentChannel', agent_id: '5' });
  for (const text of ['', '{', '[]', '{"command":"subscribe"}', '{"command":"dance","identifier":"{}"}']) socket.send(text);
  for (const wrong of ['{', '{}', '{"channel":"OtherChannel"}', '{"channel":"AgentChannel","agent_id":-1}'])
    socket.send(JSON.stringify({ command: 'subscribe', identifier: wrong }));
  socket.send(JSON.stringify({ command: 'subscribe', identifier }));
  await waitUntil(() => heard.some((text) => text.includes('confirm_subscription')), { what: 'the subscription' });
  expect(heard.filter((text) => text.includes('reject_subscription'))).toHaveLength(4);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.close();
  await closed;
});

it('stops beside somebody who connects and says nothing, over TLS', async () => {
  await using folder = await createTempDir();
  const { cert, key } = await createServingCertificate();
  const tls = { certificateFile: join(folder.path, 'tls.crt'), keyFile: join(folder.path, 'tls.key') };
  await writeFile(tls.certificateFile, cert);
  await writeFile(tls.keyFile, key);
  const log = createLogger('test', 'error');
  const silent = new CableServer({ address: { host: '127.0.0.1', port: 0 }, tls, secret, changes, log });
  const end = new AbortController();
  const ended = silent.run(() => undefined, end.signal);
  const { port } = await silent.address;
  const socket = connect(port, '127.0.0.1');
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  end.abort();
  await expect(ended).resolves.toBeUndefined();
  await closed;
});

it('answers a target that is no path as any other that is not there', async () => {
  const { port } = await server.address;
  const socket = connect(port, '127.0.0.1');
  const answer = once(socket, 'data');
  socket.write('GET // HTTP/1.1\r\nHost: kas\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  expect(String((await answer)[0])).toMatch(/^HTTP\/1.1 404 /);
  socket.destroy();
});
