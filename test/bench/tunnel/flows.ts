import { readFile } from 'node:fs/promises';
import { AbortScope } from '../../../lib/abort.ts';
import type { Figure } from '../figure.ts';
import { median } from '../statistics.ts';
import type { Setup } from './bench.ts';
import { readStream, speedOf } from './client.ts';

const MIB = 1 << 20;
const CONCURRENT = 500;
const THROUGHPUT_BYTES = 256 * MIB;
const ROUNDS = 3;
const STALLED = 20;

const path = (rest: string): string => `/-/services/source/${rest}`;

/** Requests of one agent that are answered only when all of them are there. */
export async function concurrency({ client }: Setup, signal: AbortSignal): Promise<readonly Figure[]> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(30_000)]);
  const answers = await Promise.allSettled(
    Array.from({ length: CONCURRENT }, async () => await client.read(path(`together/${CONCURRENT}`), limit)),
  );
  const ours = answers.filter(({ status }) => status === 'fulfilled').length;
  return [
    {
      workload: 'requests of one agent at the same time',
      unit: 'requests',
      better: 'more',
      ours,
      target: { atLeast: CONCURRENT },
    },
  ];
}

/** One large answer through kas, beside one gRPC stream of the same bytes over the same distance. */
export async function throughput(
  { client, stack }: Setup,
  { name, grpcPort }: { readonly name: string; readonly grpcPort: number },
  signal: AbortSignal,
): Promise<readonly Figure[]> {
  const programs = { kas: stack.stack.kas.pid, agentk: stack.stack.agentk.pid };
  const before = await Promise.all(Object.values(programs).map(processorMs));
  const [through, direct]: [number[], number[]] = [[], []];
  // The first round warms both up.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const ours = await speedOf(THROUGHPUT_BYTES, async () => await client.read(path(`bytes/${THROUGHPUT_BYTES}`), signal));
    const peer = await speedOf(THROUGHPUT_BYTES, async () => await readStream(grpcPort, THROUGHPUT_BYTES));
    if (round > 0) through.push(ours);
    if (round > 0) direct.push(peer);
  }
  const after = await Promise.all(Object.values(programs).map(processorMs));
  const gigabytes = ((ROUNDS + 1) * THROUGHPUT_BYTES) / 2 ** 30;
  return [
    {
      workload: `one large answer, ${name}`,
      unit: 'MiB/s',
      better: 'more',
      ours: median(through),
      peer: { name: 'gRPC stream without kas', value: median(direct) },
      target: { atLeastTimesPeer: 0.5 },
    },
    ...Object.keys(programs).map(
      (program, index): Figure => ({
        workload: `${program} for a GiB of it`,
        unit: 'ms of processor',
        better: 'less',
        ours: ((after[index] ?? Number.NaN) - (before[index] ?? Number.NaN)) / gigabytes,
      }),
    ),
  ];
}

/** One large answer beside readers that take nothing at all. */
export async function stalledReaders({ client }: Setup, signal: AbortSignal): Promise<readonly Figure[]> {
  const speed = async (): Promise<number> => {
    const speeds: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1)
      speeds.push(await speedOf(THROUGHPUT_BYTES, async () => await client.read(path(`bytes/${THROUGHPUT_BYTES}`), signal)));
    return median(speeds);
  };
  const alone = await speed();
  using stalled = new AbortScope(signal);
  for (let index = 0; index < STALLED; index += 1) {
    const response = await client.open(path(`bytes/${THROUGHPUT_BYTES}`), stalled.signal);
    response.on('error', () => undefined);
    response.pause();
  }
  const beside = await speed();
  return [
    {
      workload: `one large answer beside ${STALLED} readers that stall`,
      unit: 'MiB/s',
      better: 'more',
      ours: beside,
      peer: { name: 'alone', value: alone },
      target: { atLeastTimesPeer: 0.8 },
    },
  ];
}

/** User and system time of a process since its start; the system counts in hundredths of a second. */
async function processorMs(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
