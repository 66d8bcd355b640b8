import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import { callUnary } from '../../lib/grpc/call.ts';
import { signJwt } from '../../lib/jwt.ts';
import { AgentCommandsServiceClient, AgentCommandsServiceService } from '../../proto/gen/kas/private/v1/commands.ts';
import { createServingCertificate } from '../../test/harness/certificate.ts';
import { silentLog } from '../../test/harness/silent-log.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { AgentCommands } from '../agent-session/agent-commands.ts';
import type { UnitCommand } from '../agent-session/agent-message.ts';
import { CommandRouter } from './command-router.ts';
import { createCommandsService } from './commands-service.ts';
import { ownPrivateUrl } from './own-url.ts';
import { openPrivateApi, type PrivateApi } from './private-api.ts';

const signal = new AbortController().signal;
const log = silentLog;
const secret = randomBytes(32);

/** A replica's private API with the commands of its sessions. */
class Replica implements AsyncDisposable {
  readonly commands = new AgentCommands();
  readonly api: PrivateApi;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  private constructor(api: PrivateApi) {
    this.api = api;
    const handlers = createCommandsService(api.handlers, api.auth, this.commands);
    api.listener.serve([{ definition: AgentCommandsServiceService, handlers }]);
    this.#running = api.listener.run(() => undefined, this.#stop.signal);
  }

  static async start(directory: TempDir, tls: boolean, env: NodeJS.ProcessEnv = {}): Promise<Replica> {
    const file = (name: string): string => join(directory.path, name);
    await writeFile(file('secret'), secret.toString('base64'));
    const files = { certificateFile: file('crt'), keyFile: file('key') };
    const listen = {
      address: { host: '127.0.0.1', port: 0 },
      tls: tls ? files : undefined,
      authenticationSecretFile: file('secret'),
      caCertificateFile: tls ? file('crt') : undefined,
    };
    return new Replica(await openPrivateApi({ listen }, { graceMs: 1_000, log, env }));
  }

  /** Whose commands go to the sessions of these replicas and its own. */
  router(...others: readonly Replica[]): CommandRouter {
    const urls = async (): Promise<string[]> => await Promise.all(others.map(({ api }) => api.ownUrl()));
    return new CommandRouter({ own: this.commands, sessions: { replicasWith: urls }, clients: this.api.clients });
  }

  /** Commands that a session of the agent has been sent, as they come. */
  session(agentId: number): readonly (readonly [string, UnitCommand])[] {
    const sent: [string, UnitCommand][] = [];
    this.commands.register(agentId, (unit, command) => void sent.push([unit, command]));
    return sent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.api.clients.close();
    this.#stop.abort();
    await this.#running;
  }
}

describe.each([false, true])('private API with TLS %s', (tls) => {
  let directory: TempDir;
  let here: Replica;
  let there: Replica;

  beforeEach(async () => {
    directory = await createTempDir();
    const { cert, key } = await createServingCertificate('kas.internal');
    await writeFile(join(directory.path, 'crt'), cert);
    await writeFile(join(directory.path, 'key'), key);
    here = await Replica.start(directory, tls, { OWN_PRIVATE_API_HOST: 'kas.internal' });
    there = await Replica.start(directory, tls);
  });

  afterEach(async () => {
    await here[Symbol.asyncDispose]();
    await there[Symbol.asyncDispose]();
    await directory.remove();
  });

  it('brings a command to the session that another replica has', async () => {
    const sent = there.session(7);
    const confirm: UnitCommand = { type: 'confirmPrune', bundleDigest: 'abc' };
    expect(await here.router(there).send(7, 'shop', { type: 'resync' }, signal)).toBe(true);
    expect(await here.router(there).send(7, 'shop', confirm, signal)).toBe(true);
    expect(sent).toEqual([
      ['shop', { type: 'resync' }],
      ['shop', confirm],
    ]);
  });

  it('says that nobody has a session', async () => {
    expect(await here.router(there).send(8, 'shop', { type: 'resync' }, signal)).toBe(false);
  });

  it('takes its own session when the other replica is gone, and says that it cannot tell when there is none', async () => {
    const router = here.router(there);
    await there.api.ownUrl();
    await there[Symbol.asyncDispose]();
    await expect(router.send(7, 'shop', { type: 'resync' }, signal)).rejects.toMatchObject({ name: 'UnavailableError' });
    const sent = here.session(7);
    expect(await router.send(7, 'shop', { type: 'resync' }, signal)).toBe(true);
    expect(sent).toHaveLength(1);
  });

  it.each([
    ['none', async () => undefined],
    ['one of another secret', async () => await signJwt(randomBytes(32), { issuer: 'kas', audience: 'kas-private-api' })],
    ['one for the API port', async () => await signJwt(secret, { issuer: 'kas' })],
  ])('refuses a call with a token that is %s', async (_, token) => {
    const { target, credentials, channel } = here.api.clients.connect(await there.api.ownUrl());
    const client = new AgentCommandsServiceClient(target, credentials, { channelOverride: channel });
    const metadata = new Metadata();
    const text = await token();
    if (text !== undefined) metadata.set('authorization', `Bearer ${text}`);
    const sent = there.session(7);
    const request = { agentId: 7n, unit: 'shop', command: { $case: 'resync' as const, value: {} } };
    const call = callUnary(client.sendUnitCommand.bind(client), request, { metadata, timeoutMs: 30_000 }, signal);
    await expect(call).rejects.toMatchObject({ name: 'UserError', kind: 'unauthenticated' });
    expect(sent).toEqual([]);
  });
});

describe('the own address', () => {
  const any = { host: '0.0.0.0', port: 8155 };

  it.each([
    [{ OWN_PRIVATE_API_URL: 'grpcs://kas-1.kas:9000' }, 'grpcs://kas-1.kas:9000'],
    [{ POD_IP: '10.0.0.7' }, 'grpc://10.0.0.7:8155'],
    [{ POD_IP: 'fd00::7' }, 'grpc://[fd00::7]:8155'],
  ])('by %j is %s', (env, url) => {
    expect(ownPrivateUrl(any, false, env)).toBe(url);
  });

  it('is where it listens, when that can be called', () => {
    expect(ownPrivateUrl({ host: '10.1.2.3', port: 1 }, true, {})).toBe('grpcs://10.1.2.3:1');
    expect(() => ownPrivateUrl(any, false, {})).toThrow(/set the environment variable OWN_PRIVATE_API_URL .* or POD_IP/);
  });

  it('that is malformed is refused by its name', () => {
    expect(() => ownPrivateUrl(any, false, { OWN_PRIVATE_API_URL: 'http://x' })).toThrow(/^OWN_PRIVATE_API_URL is "http:\/\/x"/);
  });
});
