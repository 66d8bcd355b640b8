import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { debianPackages } from '../../test/harness/debian-packages.ts';
import { spawnReaped } from '../../test/harness/reaped-process.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { useRedis } from '../redis/redis-fixture.ts';
import { RedisMessages } from '../redis/redis-messages.ts';
import { liveChange } from './live-change-log.contract.ts';
import { RedisLiveChangeLog } from './redis-live-change-log.ts';

const SCRIPT = join(import.meta.dirname, 'testing/action_cable.rb');

const redis = useRedis();
let rails: string;

beforeAll(async () => {
  const packages = ['ruby-actioncable', 'ruby-redis', 'ruby-minitest'];
  rails = await debianPackages(packages, new AbortController().signal);
}, 300_000);

it("is heard by Debian's Rails, through ActionCable's Redis adapter", async () => {
  const { redis: commands, connections, keys, log } = await redis.replica();
  const messages = new RedisMessages(connections, commands);
  const changes = new RedisLiveChangeLog({ redis: commands, messages, keys, channelPrefix: 'app_production', log });
  const { ruby, env } = rubyIn(rails);
  const args = [SCRIPT, `redis://${redis.server.address}`, 'app_production', 'kas:agent:7'];
  const child = await spawnReaped(ruby, args, { env: { ...process.env, ...env } });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    if (stream !== null) createInterface({ input: stream }).on('line', (line) => lines.push(line));
  try {
    const failure = child.exited.then(() => {
      throw new Error(`Rails ended:\n${lines.join('\n')}`);
    });
    failure.catch(() => undefined);
    await Promise.race([
      failure,
      waitUntil(() => lines.includes('subscribed'), { what: 'Rails to subscribe', timeoutMs: 60_000 }),
    ]);
    await changes.append([liveChange(7, 'web', { object: '{"status":{"phase":"Running"}}' })]);
    await waitUntil(() => lines.some((line) => line.startsWith('heard')), { what: 'Rails to hear of it' });
    const heard = lines.find((line) => line.startsWith('heard'))?.slice('heard '.length) ?? '';
    expect(JSON.parse(heard)).toMatchObject({
      agentId: 7,
      type: 'modified',
      kind: 'Pod',
      name: 'web',
      object: { status: { phase: 'Running' } },
    });
  } finally {
    await child.killGroup();
  }
}, 120_000);

/** The ruby of the fetched packages, or the system's where that was there already; and where their gems are. */
function rubyIn(root: string): { readonly ruby: string; readonly env: Record<string, string> } {
  const at = (...parts: string[]): string => join(root, ...parts);
  const found = (folder: string, pattern: RegExp): string[] => {
    try {
      return readdirSync(folder)
        .filter((name) => pattern.test(name))
        .map((name) => join(folder, name));
    } catch {
      return [];
    }
  };
  const [ruby = 'ruby'] = found(at('usr/bin'), /^ruby\d/);
  const architectures = [root, '/'].flatMap((base) => found(join(base, 'usr/lib'), /-linux-gnu$/));
  const versions = (folder: string): string[] => found(folder, /^\d+\.\d+\.\d+$/);
  const libraries = [root, '/']
    .flatMap((base) => [join(base, 'usr/lib/ruby')])
    .concat(architectures.map((folder) => join(folder, 'ruby')));
  const vendor = libraries.map((folder) => join(folder, 'vendor_ruby'));
  const integration = [root, '/']
    .map((base) => join(base, 'usr/share/rubygems-integration'))
    .concat(architectures.map((folder) => join(folder, 'rubygems-integration')));
  return {
    ruby,
    env: {
      LD_LIBRARY_PATH: architectures.join(':'),
      RUBYLIB: [...vendor, ...vendor.flatMap(versions), ...libraries.flatMap(versions)].join(':'),
      GEM_PATH: [...integration.map((folder) => join(folder, 'all')), ...integration.flatMap(versions)].join(':'),
    },
  };
}
