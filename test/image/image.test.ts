import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BuiltImage, buildImage } from '../../image/build.ts';
import { digestOf } from '../../image/oci-layout.ts';
import { rootFileSystem } from '../../image/root-fs.ts';
import { tar } from '../../image/tar.ts';
import { VERSION } from '../../lib/version.ts';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { configMap, Repository } from '../e2e/repository.ts';
import { useCluster } from '../harness/cluster.ts';
import { WorkingCopy } from '../harness/git.ts';
import { KasApi } from '../harness/kas-api.ts';
import type { Program } from '../harness/process.ts';
import { AGENT, freeAddresses, PROJECT, prepareStack, type StackFiles, stackFiles } from '../harness/stack-files.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { imagePackages, UnpackedImage } from './unpacked-image.ts';

const MINUTES = 60_000;
const NEVER = new AbortController().signal;

const cluster = useCluster();
let directory: TempDir;
let packages: string;
let built: BuiltImage;
let image: UnpackedImage;

beforeAll(async () => {
  directory = await createTempDir();
  packages = await imagePackages(NEVER);
  built = await buildImage(packages, NEVER);
  image = await UnpackedImage.unpack(built.archive, directory.path);
}, 10 * MINUTES);

afterAll(() => directory.remove());

it(
  'has the same layers whenever and wherever it is built',
  async () => {
    await using workspace = await createTempDir();
    const options = { packages, workspace: workspace.path, name: 'kas', version: VERSION };
    const { layers } = await rootFileSystem(options, NEVER);
    expect(layers.map((layer) => digestOf(tar(layer)))).toEqual(built.diffIds);
  },
  5 * MINUTES,
);

it('says what it is made of', async () => {
  const bill = JSON.parse(built.sbom) as { components: { name: string; version: string; purl: string }[] };
  const inside = await readFile(join(image.root, 'usr/share/doc/kas/sbom.cdx.json'), 'utf8');
  expect(inside).toBe(built.sbom);
  const names = bill.components.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['@grpc/grpc-js', 'kustomize-ts', 'libc6', 'git', 'sigs.k8s.io/kustomize/api']));
  expect(new Set(bill.components.map(({ purl }) => purl)).size).toBe(names.length);
  expect(bill.components.filter(({ version }) => version === '')).toEqual([]);
});

it('gives its user nothing to write to but /tmp', async () => {
  expect(image.config.User).toBe('65532:65532');
  expect(await image.writable()).toEqual(['tmp']);
});

it.each(['kas', 'agentk', 'kas-gitserver'])('starts %s by its name', async (command) => {
  expect(await image.run(command, '--help')).toContain(`${command} `);
});

it('has a git that can fetch over TLS', async () => {
  const refused = await image
    .run('git', 'ls-remote', 'https://127.0.0.1:1/nothing.git')
    .catch((error: { stderr: string }) => error.stderr);
  expect(refused).toMatch(/Failed to connect to 127\.0\.0\.1/);
  expect(await readFile(join(image.root, 'etc/ssl/certs/ca-certificates.crt'), 'utf8')).toContain('BEGIN CERTIFICATE');
});

describe('the programs of the image together', () => {
  const programs: Program[] = [];
  let files: StackFiles;
  let namespace: string;
  let repository: Repository;
  let api: KasApi | undefined;
  let agentk: Program;

  beforeAll(async () => {
    namespace = await cluster.namespace();
    const addresses = await freeAddresses();
    files = stackFiles(await image.volume('stack'));
    await prepareStack(files, { addresses, pollPeriodMs: 60_000, notifications: true });
    const kubeconfig = join(files.directory, 'kubeconfig');
    await copyFile(cluster.kubeconfigPath, kubeconfig);
    await image.own(files.directory);
    await started('kas-gitserver', ['serve', '--config', files.gitserverConfig], /"msg":"Ready"/);
    await started('kas', ['serve', '--config', files.kasConfig], /"msg":"kas is ready"/);
    api = new KasApi(addresses.kasApi, files.apiSecret);
    const token = await readFile(files.pushToken(PROJECT), 'utf8');
    const copy = await WorkingCopy.clone(`http://git:${token}@${addresses.gitHttp}/${PROJECT}.git`, join(directory.path, 'copy'));
    repository = new Repository(copy, AGENT, namespace);
    await repository.addUnit('plain', { 'a.yaml': configMap('plain', { from: 'git' }) });
    const address = `grpc://${addresses.kasAgents}`;
    const args = [
      '--kas-address',
      address,
      '--token-file',
      files.agentToken,
      '--kubeconfig',
      kubeconfig,
      '--namespace',
      namespace,
    ];
    agentk = await started('agentk', args, /"msg":"Connected to kas"/);
  }, 5 * MINUTES);

  afterAll(async () => {
    for (const program of programs.toReversed()) await program.stop();
    api?.[Symbol.dispose]();
  });

  async function started(command: string, args: readonly string[], ready: RegExp): Promise<Program> {
    const program = await image.start(command, args, { POD_NAME: `${command}-1` });
    programs.push(program);
    await program.waitForLine(ready, 2 * MINUTES);
    return program;
  }

  async function synced(unit: string): Promise<void> {
    await waitUntil(
      async () => (await api?.units(NEVER))?.some(({ unit: name, phase }) => name === unit && phase === Phase.PHASE_SYNCED),
      { what: `unit ${unit} synced`, timeoutMs: 2 * MINUTES },
    );
  }

  const dataOf = async (name: string): Promise<unknown> =>
    JSON.parse(await cluster.kubectl(['get', 'configmap', name, '--namespace', namespace, '--output', 'jsonpath={.data}']));

  it(
    'sync what is pushed',
    async () => {
      await synced('plain');
      expect(await dataOf('plain')).toEqual({ from: 'git' });
    },
    5 * MINUTES,
  );

  it(
    'build kustomizations',
    async () => {
      await repository.addUnit(
        'built',
        { 'kustomization.yaml': 'resources: [a.yaml]\nnamePrefix: prod-\n', 'a.yaml': configMap('built', { from: 'git' }) },
        { paths: undefined, kustomize: { path: 'built' } },
      );
      await synced('built');
      expect(await dataOf('prod-built')).toEqual({ from: 'git' });
    },
    5 * MINUTES,
  );

  it('write nowhere but into their volumes', async () => {
    const outside = (await image.writable()).filter((path) => !/^(?:tmp|var\/stack(?:\/.*)?)$/.test(path));
    expect(outside).toEqual([]);
  });

  it('hold little memory when nothing happens', async () => {
    const status = await readFile(`/proc/${agentk.pid}/status`, 'utf8');
    const mebibytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
    process.stderr.write(`agentk of the image: ${mebibytes.toFixed(0)} MiB resident\n`);
    expect(mebibytes).toBeLessThan(110);
  });
});
