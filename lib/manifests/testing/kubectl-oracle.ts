import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { kubectlPath, progressOnStderr } from '../../../test/controlplane/binaries.ts';

/** What kubectl makes of a file. */
export interface KubectlReading {
  /** Canonical JSON (sorted keys, no white space) with the number texts that kubectl prints. */
  readonly objects: string[];
  readonly error: string | undefined;
}

/**
 * Has the real kubectl read files, all in one process, without a server: `patch --local` with an empty patch prints what it decoded.
 * Objects are assigned to files by name: in the file `x.yaml` all object names begin with `x.`, or are `x`; others are left out.
 */
export async function readWithKubectl(files: ReadonlyMap<string, Buffer>): Promise<Map<string, KubectlReading>> {
  const folder = await mkdtemp(join(tmpdir(), 'kubectl-oracle-'));
  try {
    for (const [name, content] of files) await writeFile(join(folder, name), content);
    return assign([...files.keys()], await runKubectl(['patch', '--local', '--type=merge', '-p={}', '-o=json', '-f=.'], folder));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runKubectl(args: readonly string[], cwd: string): Promise<{ stdout: string; stderr: string }> {
  const path = await kubectlPath(progressOnStderr, new AbortController().signal);
  const child = spawn(path, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: '', HOME: cwd } });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { stdout, stderr };
}

function assign(names: readonly string[], output: { stdout: string; stderr: string }): Map<string, KubectlReading> {
  const readings = new Map<string, { objects: string[]; error: string | undefined }>();
  for (const name of names) readings.set(name.replace(/\.\w+$/, ''), { objects: [], error: undefined });
  for (const [json] of output.stdout.matchAll(/^\{\n[^]*?^\}$/gm)) {
    const object = parseKeepingNumbers(json) as { metadata?: { name?: unknown } };
    const reading = readings.get(String(object.metadata?.name).replace(/\..*$/, ''));
    reading?.objects.push(canonical(object));
  }
  for (const line of output.stderr.split('\n')) {
    const name = /(?:error parsing |unable to decode "|error validating ")([\w-]+)\.\w+/.exec(line)?.[1];
    const reading = name === undefined ? undefined : readings.get(name);
    if (reading !== undefined) reading.error = line;
  }
  return new Map(names.map((name) => [name, readings.get(name.replace(/\.\w+$/, '')) ?? { objects: [], error: undefined }]));
}

/** Numbers stay what was printed, be they too large for JavaScript. */
function parseKeepingNumbers(json: string): unknown {
  const keep = (_key: string, value: unknown, context: { source: string }): unknown =>
    typeof value === 'number' ? (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(context.source) : value;
  return JSON.parse(json, keep as (key: string, value: unknown) => unknown);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null || isRawJson(value)) return JSON.stringify(value);
  const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(',')}}`;
}

function isRawJson(value: object): boolean {
  return (JSON as unknown as { isRawJSON(value: object): boolean }).isRawJSON(value);
}
