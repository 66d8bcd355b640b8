import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { credentials, Metadata } from '@grpc/grpc-js';
import { callBidi } from '../../lib/grpc/call.ts';
import { GrpcListener } from '../../lib/grpc/listener.ts';
import { Handlers } from '../../lib/grpc/serve.ts';
import { type ServeRequest, type ServeResponse, TunnelClient } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import { silentLog } from '../../test/harness/silent-log.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { openPrivateApi, type PrivateApi } from '../private-api/private-api.ts';
import { type AgentTunnels, openAgentTunnels } from './agent-tunnels.ts';
import { tunnelDefinition } from './tunnel-definition.ts';
import { TunnelRegistry } from './tunnel-registry.ts';
import { createTunnelService } from './tunnel-service.ts';

const log = silentLog;
const NEVER = new AbortController().signal;
const AGENT = 7;

/** What a replica has for tunnels: the port of agents and the private one. */
class Replica implements AsyncDisposable {
  readonly registry = new TunnelRegistry();
  readonly tunnels: AgentTunnels;
  /** Private addresses of the replicas that are said to have sessions with any agent. */
  others: string[] = [];
  readonly api: PrivateApi;
  readonly #agents: GrpcListener;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  private constructor(api: PrivateApi) {
    this.api = api;
    this.#agents = new GrpcListener({ name: 'agents', address: { host: '127.0.0.1', port: 0 }, graceMs: 0 });
    const authenticator = { authenticate: async (metadata: Metadata) => ({ agent: { id: Number(metadata.get('agent')[0]) } }) };
    const handlers = new Handlers(log, this.#agents.forced);
    const service = createTunnelService(handlers, authenticator, this.registry, this.#agents.draining);
    this.#agents.serve([{ definition: tunnelDefinition, handlers: service }]);
    this.tunnels = openAgentTunnels(this.registry, { replicasWith: async () => this.others }, api, log);
    const run = (listener: GrpcListener): Promise<void> => listener.run(() => undefined, this.#stop.signal);
    this.#running = Promise.all([run(this.#agents), run(api.listener)]);
  }

  static async start(directory: TempDir): Promise<Replica> {
    const listen = {
      address: { host: '127.0.0.1', port: 0 },
      tls: undefined,
      authenticationSecretFile: join(directory.path, 'secret'),
      caCertificateFile: undefined,
    };
    return new Replica(await openPrivateApi({ listen }, { graceMs: 0, log, env: {} }));
  }

  async agentPort(): Promise<number> {
    return (await this.#agents.address).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.api.clients.close();
    this.#stop.abort();
    await this.#running;
  }
}

/** An agent that sends back what it is sent, in capitals; it opens one tunnel for each that it is asked for. */
class EchoAgent implements Disposable {
  readonly #client: TunnelClient;
  readonly #stop = new AbortController();
  readonly #unregister: () => void;
  /** Requests that kas gave up. */
  ended = 0;

  private constructor(client: TunnelClient, replica: Replica) {
    this.#client = client;
    this.#unregister = replica.registry.register(AGENT, (count) => {
      for (let opened = 0; opened < count; opened += 1) void this.#serve();
    });
  }

  static async connect(replica: Replica): Promise<EchoAgent> {
    return new EchoAgent(new TunnelClient(`127.0.0.1:${await replica.agentPort()}`, credentials.createInsecure()), replica);
  }

  /** As a process that is killed. */
  [Symbol.dispose](): void {
    this.#stop.abort(new DOMException('The agent dies', 'AbortError'));
    this.#unregister();
    this.#client.close();
  }

  async #serve(): Promise<void> {
    const metadata = new Metadata();
    metadata.set('agent', String(AGENT));
    const call = callBidi<ServeRequest, ServeResponse>(
      (sent, options) => this.#client.serve(sent, options),
      { metadata },
      this.#stop.signal,
    );
    const send = async (message: ServeRequest['message']): Promise<void> => await call.send({ message });
    try {
      await send({ $case: 'ready', value: {} });
      for await (const { message } of call.responses) {
        if (message?.$case === 'head') {
          await send({ $case: 'accepted', value: {} });
          await send({ $case: 'head', value: { status: 200, headers: [] } });
        } else if (message?.$case === 'data') {
          await send({ $case: 'window', value: message.value.length + 32 });
          await send({ $case: 'data', value: Buffer.from(message.value.toString('utf8').toUpperCase()) });
        } else if (message?.$case === 'end') {
          await send({ $case: 'end', value: { trailers: [], grpcStatus: 0, grpcMessage: '' } });
          call.end();
        }
      }
    } catch {
      // It died, or kas did.
    }
    this.ended += 1;
  }
}

const HEAD = { request: { $case: 'kubernetes' as const, value: { http: undefined, impersonation: undefined } } };

async function echo(tunnels: AgentTunnels, text: string): Promise<string> {
  using request = await tunnels.open(AGENT, NEVER);
  request.begin(HEAD);
  await request.write(Buffer.from(text));
  request.end();
  expect((await request.answer).status).toBe(200);
  const chunks: Buffer[] = [];
  for await (const chunk of request.body) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

let directory: TempDir;
let here: Replica;
let there: Replica;

beforeEach(async () => {
  directory = await createTempDir();
  await writeFile(join(directory.path, 'secret'), randomBytes(32).toString('base64'));
  here = await Replica.start(directory);
  there = await Replica.start(directory);
});

afterEach(async () => {
  await here[Symbol.asyncDispose]();
  await there[Symbol.asyncDispose]();
  await directory.remove();
});

test('a request takes a tunnel of its agent, and many at the same time take one each', async () => {
  using _ = await EchoAgent.connect(here);
  expect(await echo(here.tunnels, 'hello')).toBe('HELLO');
  const texts = Array.from({ length: 50 }, (__, index) => `text ${index}`);
  expect(await Promise.all(texts.map(async (text) => await echo(here.tunnels, text)))).toEqual(
    texts.map((text) => text.toUpperCase()),
  );
});

test('a request comes to an agent of another replica, whole', async () => {
  using _ = await EchoAgent.connect(there);
  here.others = [await there.api.ownUrl()];
  const text = 'abc'.repeat(100_000);
  expect(await echo(here.tunnels, text)).toBe(text.toUpperCase());
});

test('a replica that is gone is passed over for one that is there', async () => {
  using _ = await EchoAgent.connect(there);
  const gone = await Replica.start(directory);
  const url = await gone.api.ownUrl();
  await gone[Symbol.asyncDispose]();
  here.others = [url, await there.api.ownUrl()];
  expect(await echo(here.tunnels, 'hello')).toBe('HELLO');
  here.others = [url];
  await expect(here.tunnels.open(AGENT, NEVER)).rejects.toMatchObject({ name: 'UnavailableError' });
});

test('an agent that nobody has is told of at once', async () => {
  here.others = [await there.api.ownUrl()];
  await expect(here.tunnels.open(AGENT, NEVER)).rejects.toThrow('agent 7 is not connected');
  here.others = [];
  await expect(here.tunnels.open(AGENT, NEVER)).rejects.toThrow('agent 7 is not connected');
});

describe.each(['its own', 'another'])('with the agent at %s replica', (place) => {
  let agent: EchoAgent;

  beforeEach(async () => {
    agent = await EchoAgent.connect(place === 'another' ? there : here);
    if (place === 'another') here.others = [await there.api.ownUrl()];
  });

  afterEach(() => agent[Symbol.dispose]());

  test('a request that is given up ends at the agent', async () => {
    const request = await here.tunnels.open(AGENT, NEVER);
    request.begin(HEAD);
    expect((await request.answer).status).toBe(200);
    request[Symbol.dispose]();
    await waitUntil(() => agent.ended === 1, { what: 'the request to end at the agent', timeoutMs: 30_000 });
    await expect(request.write(Buffer.from('more'))).rejects.toThrow('The request was given up');
  });

  test('an agent that dies within a request fails it', async () => {
    using request = await here.tunnels.open(AGENT, NEVER);
    request.begin(HEAD);
    expect((await request.answer).status).toBe(200);
    agent[Symbol.dispose]();
    const read = async (): Promise<void> => {
      for await (const chunk of request.body) expect(chunk).toHaveLength(0);
    };
    await expect(read()).rejects.toMatchObject({ name: 'UnavailableError' });
    await waitUntil(() => !here.registry.has(AGENT), { what: 'the agent to be gone' });
  });
});
