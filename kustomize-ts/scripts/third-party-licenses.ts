import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

interface GoModule {
  readonly path: string;
  readonly version: string;
  readonly folder: string;
}

/** The licences and notices of all modules whose code is in the module, one after the other. */
export async function thirdPartyLicenses(source: string): Promise<string> {
  const environment = { ...process.env, GOOS: 'wasip1', GOARCH: 'wasm', GOFLAGS: '-mod=readonly', GOWORK: 'off' };
  const format = '{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}';
  const { stdout } = await run('go', ['list', '-deps', '-f', format, '.'], { cwd: source, env: environment });
  const modules = [...new Set(stdout.split('\n').filter((line) => line !== ''))].toSorted().map((line): GoModule => {
    const [path = '', version = '', folder = ''] = line.split('\t');
    return { path, version, folder };
  });
  const root = (await run('go', ['env', 'GOROOT'], { cwd: source, env: environment })).stdout.trim();
  const all = [...modules, { path: 'the Go runtime and standard library', version: '', folder: root }];
  return (await Promise.all(all.map(licenseOf))).join('\n');
}

async function licenseOf({ path, version, folder }: GoModule): Promise<string> {
  const names = (await readdir(folder)).filter((name) => /^(?:licen[cs]e|notice|copying)(?:\.\w+)?$/i.test(name)).toSorted();
  if (names.length === 0) throw new Error(`${path} has no licence file`);
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return `${'='.repeat(80)}\n${path} ${version}\n${'='.repeat(80)}\n\n${texts.join('\n')}`;
}
