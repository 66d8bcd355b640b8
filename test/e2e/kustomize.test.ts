import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { ApiReader } from '../harness/api-reader.ts';
import { useCluster } from '../harness/cluster.ts';
import { WorkingCopy } from '../harness/git.ts';
import type { Service } from '../harness/service.ts';
import { Stack } from '../harness/stack.ts';
import { freeAddresses } from '../harness/stack-files.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { configMapPath } from './repository.ts';

const PROJECT = 'e2e/counter';
const NEVER = new AbortController().signal;

const cluster = useCluster();
const production = { id: randomInt(1_001, 2 ** 30), name: 'production' };
const staging = { id: production.id + 1, name: 'staging' };
let directory: TempDir;
let stack: Stack;
let stagingAgentk: Service;
let copy: WorkingCopy;
let api: ApiReader;
const namespaces: Record<string, string> = {};

beforeAll(async () => {
  directory = await createTempDir();
  api = new ApiReader(cluster.kubeconfigPath);
  const kubeconfig = cluster.kubeconfigPath;
  stack = await Stack.open({
    directory: join(directory.path, 'stack'),
    kubeconfig,
    addresses: await freeAddresses(),
    agent: production,
    agentNamespace: `agentk-${production.id}`,
    tenants: [{ agent: staging, project: PROJECT }],
    projects: [PROJECT],
    pollPeriodMs: 60_000,
    notifications: true,
  });
  stagingAgentk = stack.agentkOf({ agent: staging, project: PROJECT }, { kubeconfig, agentNamespace: `agentk-${staging.id}` });
  copy = await WorkingCopy.clone(stack.cloneUrl, join(directory.path, 'clone'));
  for (const { name } of [production, staging]) namespaces[name] = await cluster.namespace();
  await write({
    'base/kustomization.yaml': 'resources: [settings.yaml]\nconfigMapGenerator:\n- {name: generated, literals: [mode=plain]}\n',
    'base/settings.yaml': 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {count: "1", of: base}\n',
    ...overlay('production', '2'),
    ...overlay('staging', '3'),
  });
});

afterAll(async () => {
  await stagingAgentk[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
  const agents = [production, staging].map(({ id }) => `agentk-${id}`);
  await promisify(execFile)(cluster.kubectlPath, [
    '--kubeconfig',
    cluster.kubeconfigPath,
    'delete',
    'namespace',
    ...agents,
    '--ignore-not-found',
    '--wait=false',
  ]);
  api[Symbol.dispose]();
  await directory.remove();
});

/** An overlay, and the configuration of the agent that syncs it. */
function overlay(name: string, count: string): Record<string, string> {
  const patch = `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"count": "${count}"}}`;
  const unit = { id: PROJECT, name, default_namespace: namespaces[name], kustomize: { path: `overlays/${name}` } };
  return {
    [`overlays/${name}/kustomization.yaml`]: `resources: [../../base]\nnamespace: ${namespaces[name]}\npatches:\n- patch: '${patch}'\n`,
    [`.gitlab/agents/${name}/config.yaml`]: JSON.stringify({ gitops: { manifest_projects: [unit] } }),
  };
}

async function write(files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) await copy.write(path, content);
}

async function unitAt(name: string, phase: Phase, commit: string): Promise<UnitStatus> {
  const find = async (): Promise<UnitStatus | undefined> =>
    (await stack.api.units(NEVER)).find((unit) => unit.unit === name && unit.phase === phase && unit.desiredCommitId === commit);
  return await waitUntil(find, { timeoutMs: 40_000, intervalMs: 20, what: `unit ${name} in phase ${phase} at ${commit}` });
}

async function countOf(name: string): Promise<unknown> {
  return ((await api.get(configMapPath(namespaces[name] ?? '', 'settings')))?.['data'] as { count?: string } | undefined)?.count;
}

/** Every object of an overlay with its resourceVersion: the same when nothing was written. */
async function footprint(name: string): Promise<readonly string[]> {
  const objects = await api.list(`/api/v1/namespaces/${namespaces[name]}/configmaps`);
  return objects.map(({ metadata }) => `${metadata.name} ${metadata.uid} ${metadata.resourceVersion}`).toSorted();
}

test('two agents sync an overlay each, with generated names', async () => {
  const commit = await copy.commitAndPush('Seed');
  await Promise.all([stack.agentk.start(), stagingAgentk.start()]);
  const unit = await unitAt('production', Phase.PHASE_SYNCED, commit);
  expect(unit.objects.map(({ id, source }) => [id?.name, source])).toEqual([
    [expect.stringMatching(/^generated-[a-z0-9]{10}$/), 'overlays/production/kustomization.yaml'],
    ['settings', 'overlays/production/kustomization.yaml'],
  ]);
  await unitAt('staging', Phase.PHASE_SYNCED, commit);
  expect(await Promise.all([countOf('production'), countOf('staging')])).toEqual(['2', '3']);
});

test('a change in one overlay reaches the agent of that overlay only', async () => {
  const before = await footprint('production');
  await write(overlay('staging', '4'));
  const commit = await copy.commitAndPush('Count further');
  await unitAt('staging', Phase.PHASE_SYNCED, commit);
  await unitAt('production', Phase.PHASE_SYNCED, commit);
  expect(await countOf('staging')).toBe('4');
  expect(await footprint('production')).toEqual(before);
});

test('a change in the base reaches both', async () => {
  await write({
    'base/settings.yaml': 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {count: "1", of: all}\n',
  });
  const commit = await copy.commitAndPush('Change the base');
  for (const name of ['production', 'staging']) {
    await unitAt(name, Phase.PHASE_SYNCED, commit);
    expect((await api.get(configMapPath(namespaces[name] ?? '', 'settings')))?.['data']).toMatchObject({ of: 'all' });
  }
});

test('an error shows with file and field at the unit that has it, and what was there stays', async () => {
  const before = await footprint('staging');
  await write({ 'overlays/staging/kustomization.yaml': 'resources: [../../base]\nnamePrefixx: a-\n' });
  const commit = await copy.commitAndPush('Mistype a field');
  const { problems } = await unitAt('staging', Phase.PHASE_FAILED, commit);
  expect(problems).toEqual([
    expect.objectContaining({
      reason: 'KustomizeBuildFailed',
      file: 'overlays/staging/kustomization.yaml',
      message: expect.stringMatching(/^namePrefixx: .*unknown field "namePrefixx"/),
    }),
  ]);
  await unitAt('production', Phase.PHASE_SYNCED, commit);
  expect(await footprint('staging')).toEqual(before);
});
