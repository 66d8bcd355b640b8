import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createServingCertificate } from '../../test/harness/certificate.ts';
import { RedisServer } from '../../test/harness/redis-server.ts';
import { silentLog } from '../../test/harness/silent-log.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import type { RedisConfig } from '../config/kas-config.ts';
import { eventually } from '../kas-fixture.ts';
import { RedisConnections } from './redis-connections.ts';
import { REDIS_START_TIMEOUT_MS } from './redis-fixture.ts';

const PASSWORD = 'not a secret';
let folder: TempDir;
const open: AsyncDisposable[] = [];

beforeEach(async () => {
  folder = await createTempDir();
});

afterEach(async () => {
  for (const server of open.splice(0).reverse()) await server[Symbol.asyncDispose]();
  await folder.remove();
});

function config(change: Partial<RedisConfig> & Pick<RedisConfig, 'servers'>): RedisConfig {
  return { username: undefined, passwordFile: undefined, tls: undefined, keyPrefix: 'test', dialTimeoutMs: 5_000, ...change };
}

async function server(settings: readonly string[], options: { tls?: boolean; sentinel?: boolean } = {}): Promise<RedisServer> {
  const started = await RedisServer.start({ settings, ...options });
  open.push(started);
  return started;
}

async function connections(of: RedisConfig): Promise<RedisConnections> {
  const connected = await RedisConnections.open(of, silentLog);
  open.push({ [Symbol.asyncDispose]: async () => connected.close() });
  return connected;
}

async function file(name: string, content: string): Promise<string> {
  await writeFile(join(folder.path, name), content);
  return join(folder.path, name);
}

const at = (redis: RedisServer): RedisConfig['servers'] => ({ kind: 'single', address: { host: '127.0.0.1', port: redis.port } });

test(
  'TLS with a client certificate and a password: with them Redis answers, with another authority or password not',
  async () => {
    const { cert, key } = await createServingCertificate();
    const [certificateFile, keyFile] = [await file('crt', cert), await file('key', key)];
    const tls = [`tls-cert-file ${certificateFile}`, `tls-key-file ${keyFile}`, `tls-ca-cert-file ${certificateFile}`];
    const redis = await server([...tls, `requirepass "${PASSWORD}"`], { tls: true });
    const passwordFile = await file('password', `${PASSWORD}\n`);
    const clientCertificate = { certificateFile, keyFile };
    const good = config({ servers: at(redis), passwordFile, tls: { caCertificateFile: certificateFile, clientCertificate } });
    const connected = await connections(good);
    expect(await connected.commands().ping()).toBe('PONG');
    expect(await connected.patient().ping()).toBe('PONG');

    const other = await file('other', (await createServingCertificate()).cert);
    const badAuthority = await connections({ ...good, tls: { caCertificateFile: other, clientCertificate } });
    await expect(badAuthority.commands().ping()).rejects.toThrow(/max retries|certificate|closed/i);
    const badPassword = await connections({ ...good, passwordFile: await file('wrong', 'wrong') });
    await expect(badPassword.commands().ping()).rejects.toThrow(/WRONGPASS|NOAUTH|max retries/i);
  },
  REDIS_START_TIMEOUT_MS,
);

test(
  'with Sentinel kas finds the server that took over',
  async () => {
    const first = await server([]);
    const second = await server([`replicaof 127.0.0.1 ${first.port}`]);
    const watch = [`monitor kas 127.0.0.1 ${first.port} 1`, 'down-after-milliseconds kas 1000', 'failover-timeout kas 5000'];
    const sentinel = await server(
      watch.map((line) => `sentinel ${line}`),
      { sentinel: true },
    );
    const servers = {
      kind: 'sentinel',
      masterName: 'kas',
      addresses: [{ host: '127.0.0.1', port: sentinel.port }],
      passwordFile: undefined,
    } as const;
    const redis = (await connections(config({ servers }))).commands();
    expect(await redis.set('before', 'x')).toBe('OK');
    // A replica can take over once Sentinel has heard of it and it has what the first has.
    const watching = (await connections(config({ servers: at(sentinel) }))).patient();
    await eventually(async () => ((await watching.call('SENTINEL', ['REPLICAS', 'kas'])) as unknown[]).length === 1 || undefined);
    const copy = (await connections(config({ servers: at(second) }))).patient();
    await eventually(async () => ((await copy.get('before')) === 'x' ? true : undefined));
    await first.kill();
    const end = performance.now() + 40_000;
    const write = async (): Promise<string> =>
      await redis.set('after', 'y').catch(async (error: unknown) => {
        if (performance.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
        return await write();
      });
    expect(await write()).toBe('OK');
    expect(await copy.get('after')).toBe('y');
    expect(await redis.get('before')).toBe('x');
  },
  REDIS_START_TIMEOUT_MS,
);

test('a file that is not there is named', async () => {
  const servers = { kind: 'single', address: { host: '127.0.0.1', port: 1 } } as const;
  const missing = join(folder.path, 'missing');
  await expect(RedisConnections.open(config({ servers, passwordFile: missing }), silentLog)).rejects.toMatchObject({
    name: 'UserError',
    message: expect.stringContaining(missing),
  });
});

test(
  'its absence is told once, and its return',
  async () => {
    const redis = await server([]);
    const lines: string[] = [];
    const log = {
      ...silentLog,
      warn: (message: string) => void lines.push(message),
      info: (message: string) => void lines.push(message),
    };
    const connected = await RedisConnections.open(config({ servers: at(redis) }), log);
    open.push({ [Symbol.asyncDispose]: async () => connected.close() });
    const both = [connected.commands(), connected.patient()];
    for (const connection of both) await connection.ping();
    await redis.kill();
    await eventually(() => (both.every(({ status }) => status !== 'ready') ? true : undefined));
    await redis.startAgain();
    await eventually(() => (lines.includes('Redis answers again') ? true : undefined));
    expect(lines).toEqual(['Redis cannot be reached; will try again', 'Redis answers again']);
  },
  REDIS_START_TIMEOUT_MS,
);
