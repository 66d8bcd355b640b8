import { execFile } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';

const run = promisify(execFile);

const PACKAGE = join(import.meta.dirname, '..');
const REPOSITORY = join(PACKAGE, '..');

let folder: TempDir;
let project: string;
let packed: string;

beforeAll(async () => {
  folder = await createTempDir();
  project = join(folder.path, 'project');
  // Outside of the repository: what is found must come from the package itself.
  const { stdout } = await npm(['pack', '--json', '--pack-destination', folder.path], PACKAGE);
  packed = stdout;
  await mkdir(project);
  await writeFile(join(project, 'package.json'), '{"name": "empty", "private": true, "type": "module"}\n');
  const [archive] = /kustomize-ts-[\d.]+\.tgz/.exec(packed) ?? [];
  await npm(['install', '--offline', '--no-audit', '--no-fund', join(folder.path, archive ?? '')], project);
  await writeTree({
    'deploy/base/kustomization.yaml': 'resources: [a.yaml]\n',
    'deploy/base/a.yaml': 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n',
    'deploy/overlays/prod/kustomization.yaml': 'resources: [../../base]\nnamePrefix: prod-\ncommonLabels: {x: z}\n',
  });
}, 120_000);

afterAll(() => folder.remove());

async function npm(args: readonly string[], cwd: string): Promise<{ stdout: string }> {
  return await run('npm', [...args, '--cache', join(folder.path, 'cache')], { cwd });
}

async function writeTree(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(project, path)), { recursive: true });
    await writeFile(join(project, path), content);
  }
}

async function readmeScript(): Promise<string> {
  const readme = await readFile(join(PACKAGE, 'README.md'), 'utf8');
  const script = /```js\n([^]*?)```/.exec(readme)?.[1];
  if (script === undefined) throw new Error('README.md has no script');
  return script;
}

test('the script of the README builds an overlay in an empty project', async () => {
  await writeFile(join(project, 'build.js'), await readmeScript());
  const { stdout, stderr } = await run(process.execPath, ['build.js'], { cwd: project });
  expect(stdout).toBe('apiVersion: v1\nkind: ConfigMap\nmetadata:\n  labels:\n    x: z\n  name: prod-a\n');
  expect(stderr).toMatch(/^# Warning: 'commonLabels' is deprecated.*\nbuilt from 3 files\n$/);
});

test('its types are complete, for a strict compiler that checks them too', async () => {
  await writeFile(
    join(project, 'check.ts'),
    `import { filesOfDirectory, Kustomize, KustomizeError, type BuildOptions, type KustomizeErrorCode } from 'kustomize-ts';
const options: BuildOptions = { readFile: filesOfDirectory('.'), path: 'a' };
const kustomize = new Kustomize({ workers: 1, limits: { timeMs: 1 } });
const { yaml, files }: { yaml: string; files: readonly string[] } = await kustomize.build(options, AbortSignal.timeout(1));
const name: string | undefined = (await kustomize.buildObjects({ files: new Map([['a', 'b']]) })).objects[0]?.metadata?.name;
// @ts-expect-error one of files and readFile is needed
await kustomize.build({ path: 'a' });
const code: KustomizeErrorCode = new KustomizeError('TimeLimit', 'late').code;
export { yaml, files, name, code };
`,
  );
  await mkdir(join(project, 'node_modules/@types'), { recursive: true });
  for (const name of ['@types/node', 'undici-types'])
    await symlink(join(REPOSITORY, 'node_modules', name), join(project, 'node_modules', name));
  const compiler = join(REPOSITORY, 'node_modules/.bin/tsc');
  const flags = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--lib',
    'es2024,esnext.disposable',
    '--types',
    'node',
  ];
  const checked = await run(compiler, [...flags, 'check.ts'], { cwd: project }).catch((error: { stdout: string }) => error);
  expect(checked.stdout).toBe('');
});

test('the package holds what is needed to run it, and the licences', () => {
  const paths = [...packed.matchAll(/"path": "([^"]*)"/g)].map(([, path]) => path ?? '');
  expect(paths).toEqual(
    expect.arrayContaining([
      'LICENSE',
      'README.md',
      'dist/index.js',
      'dist/index.d.ts',
      'dist/build-worker.js',
      'wasm/kustomize.wasm.br',
      'wasm/THIRD-PARTY-LICENSES.txt',
    ]),
  );
  expect(paths.filter((path) => /\.test\.|^src\/|^go\/|tsbuildinfo/.test(path))).toEqual([]);
});
