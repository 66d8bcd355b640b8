import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { kubectlPath, progressOnStderr } from '../../test/controlplane/binaries.ts';
import { withoutAddresses, withoutMount } from '../src/describe-failure.ts';

/** What came of a build: by kubectl, or by us in the same words. */
export interface Printed {
  readonly yaml: string;
  readonly warnings: readonly string[];
  readonly error: string | undefined;
}

/** Runs the real `kubectl kustomize` on files. Paths in what it says begin at the root of the files. */
export async function kubectlKustomize(files: ReadonlyMap<string, Uint8Array>, path: string): Promise<Printed> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kubectl-kustomize-')));
  try {
    const root = join(folder, 'tree');
    await writeTree(root, files);
    return await run(root, path, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export async function writeTree(root: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  await mkdir(root, { recursive: true });
  for (const [name, content] of files) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), content);
  }
}

/** What kubectl's log puts before lines of upstream: time, process, place in the code. */
const LOG_PREFIX = /^I\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \w+\.go:\d+\] /gm;

async function run(root: string, path: string, folder: string): Promise<Printed> {
  const kubectl = await kubectlPath(progressOnStderr, new AbortController().signal);
  const child = spawn(kubectl, ['kustomize', join(root, path)], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: '', HOME: folder },
  });
  const [stdout, stderr] = await Promise.all([buffer(child.stdout), text(child.stderr)]);
  const said = withoutAddresses(withoutMount(stderr.replaceAll(folder, ''))).replace(LOG_PREFIX, '');
  const at = said.search(/^error: /m);
  const warnings = (at === -1 ? said : said.slice(0, at)).split('\n').filter((line) => line !== '');
  return { yaml: stdout.toString('utf8'), warnings, error: at === -1 ? undefined : said.slice(at + 'error: '.length).trimEnd() };
}
