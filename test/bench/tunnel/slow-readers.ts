import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { AbortScope } from '../../../lib/abort.ts';
import type { TunnelStack } from '../../tunnel/tunnel-stack.ts';
import type { Figure } from '../figure.ts';
import type { Setup } from './bench.ts';
import { ProxyClient } from './client.ts';

const MIB = 1 << 20;
const BYTES_PER_SECOND = 1_000_000;
/** Together they take 1 GiB. */
const MANY = 32;
const MANY_BYTES = 32 * MIB;
const MOST_MIB = 32;
/** 1 MiB each, and what V8 lets buffers that outlived its new objects grow by before it collects the whole heap. */
const MOST_OF_MANY_MIB = MANY + 32;
/** For V8 to give back what starting took. */
const SETTLE_MS = 30_000;

const path = (bytes: number): string => `/-/services/source/bytes/${bytes}`;

export interface OneSlowReader {
  /** A kas and an agentk of its own, which nobody else uses. */
  readonly open: () => Promise<TunnelStack>;
  readonly bytes: number;
  /** Its programs have started and settled. */
  readonly onBegin: () => void;
  readonly progress: (line: string) => void;
}

/** By how much kas and agentk, which did nothing before, grow while so many bytes pass one reader of 1 MB/s. */
export async function oneSlowReader(
  { open, bytes, onBegin, progress }: OneSlowReader,
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  await using stack = await open();
  const client = new ProxyClient(stack.proxy, await stack.userToken('ann'));
  await delay(SETTLE_MS, undefined, { signal });
  onBegin();
  let told = 0;
  const onRead = (read: number): void => {
    if (read < told + 128 * MIB) return;
    told = read;
    progress(`one slow reader: ${Math.floor(read / MIB)} of ${Math.floor(bytes / MIB)} MiB`);
  };
  return await growth(
    stack,
    'one reader of 1 MB/s',
    MOST_MIB,
    async () => await client.readSlowly(path(bytes), BYTES_PER_SECOND, onRead, signal),
  );
}

/** By how much kas and agentk, which were busy before, grow while 1 GiB passes 32 readers of 1 MB/s each. */
export async function manySlowReaders({ client, stack }: Setup, signal: AbortSignal): Promise<readonly Figure[]> {
  return await growth(stack, `${MANY} readers of 1 MB/s each`, MOST_OF_MANY_MIB, async () => {
    const readers = Array.from(
      { length: MANY },
      async () => await client.readSlowly(path(MANY_BYTES), BYTES_PER_SECOND, () => undefined, signal),
    );
    return (await Promise.all(readers)).reduce((sum, bytes) => sum + bytes, 0);
  });
}

/** Resident memory while bytes are read, at most, above what it was before. */
async function growth(
  { stack }: TunnelStack,
  who: string,
  atMost: number,
  read: () => Promise<number>,
): Promise<readonly Figure[]> {
  const programs = { kas: stack.kas.pid, agentk: stack.agentk.pid };
  const before = await Promise.all(Object.values(programs).map(residentBytes));
  const most = [...before];
  using watching = new AbortScope(new AbortController().signal);
  const sampling = (async () => {
    while (!watching.signal.aborted) {
      const now = await Promise.all(Object.values(programs).map(residentBytes));
      for (const [index, bytes] of now.entries()) most[index] = Math.max(most[index] ?? 0, bytes);
      await delay(200);
    }
  })();
  sampling.catch(() => undefined);
  const bytes = await read();
  watching.abort(new DOMException('All is read', 'AbortError'));
  await sampling;
  return Object.keys(programs).map((name, index) => ({
    workload: `${name} while ${Number((bytes / 2 ** 30).toFixed(3))} GiB passes ${who}`,
    unit: 'MiB growth',
    better: 'less',
    ours: ((most[index] ?? Number.NaN) - (before[index] ?? Number.NaN)) / MIB,
    target: { atMost },
  }));
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
