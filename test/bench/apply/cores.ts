import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** Numbers of processors, apart from each other. */
export interface Cores {
  readonly controlPlane: readonly number[];
  readonly contenders: readonly number[];
}

/**
 * Half of the processors for the control plane, half for whoever applies: in a real cluster they are different machines,
 * and what a client computes takes nothing from the API server (docs/decisions/0056). Undefined where there is only one.
 */
export function splitCores(available: readonly number[]): Cores | undefined {
  if (available.length < 2) return undefined;
  const half = Math.floor(available.length / 2);
  return { controlPlane: available.slice(0, half), contenders: available.slice(half) };
}

/** The processors that this process may run on; source: proc(5), Cpus_allowed_list. */
export async function availableCores(): Promise<readonly number[]> {
  const status = await readFile('/proc/self/status', 'utf8');
  return parseCpuList(/^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '');
}

/** '0-2,5' is 0, 1, 2 and 5. */
export function parseCpuList(list: string): readonly number[] {
  return list.split(',').flatMap((range) => {
    const [, from, to] = /^(\d+)(?:-(\d+))?$/.exec(range) ?? [];
    const first = Number(from);
    const last = Number(to ?? from);
    if (!(first <= last)) throw new Error(`${JSON.stringify(list)} is not a list of processors`);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/** From now on this process, all its threads and whatever it starts run on these processors only. */
export async function runOn(cores: readonly number[]): Promise<void> {
  await promisify(execFile)('taskset', ['--all-tasks', '--cpu-list', '--pid', cores.join(','), String(process.pid)]);
}
