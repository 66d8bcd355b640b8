import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
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

/**
 * Runs the real `kubectl kustomize` on files. Paths in what it says begin at the root of the files.
 * @param rendered what helm prints, by release; without it helm is not enabled
 */
export async function kubectlKustomize(
  files: ReadonlyMap<string, Uint8Array>,
  path: string,
  rendered?: Readonly<Record<string, string>>,
): Promise<Printed> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kubectl-kustomize-')));
  try {
    const root = join(folder, 'tree');
    await writeTree(root, files);
    return await run(root, path, folder, rendered === undefined ? [] : await enableHelm(folder, rendered));
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

/** A helm that prints what was rendered before: what kustomize makes of it is what is compared. */
async function enableHelm(folder: string, rendered: Readonly<Record<string, string>>): Promise<readonly string[]> {
  const helm = join(folder, 'helm');
  const outputs = new Map(Object.entries(rendered).map(([release, yaml]) => [release, Buffer.from(yaml)]));
  await writeTree(join(folder, 'rendered'), outputs);
  const script = [
    '#!/bin/sh',
    'case $1 in',
    'version) echo v3.18.4 ;;',
    `template) exec /bin/cat ${folder}/rendered/$2 ;;`,
    'esac',
  ];
  await writeFile(helm, `${script.join('\n')}\n`);
  await chmod(helm, 0o755);
  return ['--enable-helm', '--helm-command', helm];
}

/** What kubectl's log puts before lines of upstream: time, process, place in the code. */
const LOG_PREFIX = /^I\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \w+\.go:\d+\] /gm;

async function run(root: string, path: string, folder: string, flags: readonly string[]): Promise<Printed> {
  const kubectl = await kubectlPath(progressOnStderr, new AbortController().signal);
  const child = spawn(kubectl, ['kustomize', ...flags, join(root, path)], {
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
