import { join } from 'node:path';
import { Action, Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { Repository } from '../e2e/repository.ts';
import { ApiReader } from '../harness/api-reader.ts';
import { useCluster } from '../harness/cluster.ts';
import { WorkingCopy } from '../harness/git.ts';
import { Service } from '../harness/service.ts';
import { Stack } from '../harness/stack.ts';
import { freeAddresses } from '../harness/stack-files.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { ReleasedPrograms } from './released-program.ts';

const NEVER = new AbortController().signal;
const AGENT = 'skew';

/** The promise of docs/upgrade.md, with the real programs of the version before (test/skew/keep-release.ts). */
describe('Versions next to each other', () => {
  const cluster = useCluster();
  let directory: TempDir;
  let released: ReleasedPrograms;

  beforeAll(async () => {
    directory = await createTempDir();
    released = await ReleasedPrograms.unpack();
  });

  afterAll(async () => {
    await released[Symbol.asyncDispose]();
    await directory.remove();
  });

  const configMap = (name: string, value: string): string =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\ndata: { value: "${value}" }\n`;

  it.each([
    ['agentk of the version before', 'kas/main.ts', 'agentk'],
    ['kas of the version before', 'kas', 'agentk/main.ts'],
  ])(
    '%s: syncs, prunes, corrects and reports, also after both were started again',
    async (title, kasMain, agentkMain) => {
      const shop = await cluster.namespace();
      const addresses = await freeAddresses();
      const files = join(directory.path, title.split(' ')[0] ?? '');
      await using stack = await Stack.open({
        directory: files,
        kubeconfig: cluster.kubeconfigPath,
        addresses,
        agent: { id: Number.parseInt(crypto.randomUUID().slice(0, 7), 16) + 1, name: AGENT },
        projects: ['team/skew'],
        pollPeriodMs: 2_000,
        notifications: true,
      });
      await stack.kas.stop();
      const main = (name: string): string => (name === 'kas' || name === 'agentk' ? released.main(name) : name);
      await using kas = new Service({
        main: main(kasMain),
        args: ['serve', '--config', stack.files.kasConfig],
        ready: /"msg":"kas is ready"/,
        logFile: join(files, 'kas-skew.log'),
      });
      const agentNamespace = await cluster.namespace();
      const args = ['--kas-address', `grpc://${addresses.kasAgents}`, '--token-file', stack.files.agentToken];
      await using agentk = new Service({
        main: main(agentkMain),
        args: [...args, '--kubeconfig', cluster.kubeconfigPath, '--namespace', agentNamespace],
        ready: /"msg":"Connected to kas"/,
        logFile: join(files, 'agentk-skew.log'),
      });
      await kas.start();
      await agentk.start();
      using reader = new ApiReader(cluster.kubeconfigPath);
      const copy = await WorkingCopy.clone(stack.cloneUrl, join(files, 'clone'));
      const repository = new Repository(copy, AGENT, shop);
      const path = (name: string): string => `/api/v1/namespaces/${shop}/configmaps/${name}`;

      const first = await repository.addUnit('shop', { 'a.yaml': configMap('a', 'one'), 'b.yaml': configMap('b', 'one') });
      await synced(stack, first);
      const second = await repository.push({ 'shop/a.yaml': configMap('a', 'two'), 'shop/b.yaml': undefined });
      await synced(stack, second);
      expect(await reader.get(path('b'))).toBeUndefined();
      await cluster.kubectl(['-n', shop, 'patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"value":"edited"}}']);
      await reader.until(path('a'), (live) => JSON.stringify(live).includes('"two"'), 'the correction');

      await kas.stop();
      await agentk.stop();
      await kas.start();
      await agentk.start();
      const third = await repository.push({
        'shop/bad.yaml': 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: "Not A Name" }\n',
      });
      const failed = await inPhase(stack, third, Phase.PHASE_FAILED);
      expect(failed.objects.filter(({ action }) => action === Action.ACTION_FAILED).map(({ id }) => id?.name)).toEqual([
        'Not A Name',
      ]);
      await synced(stack, await repository.push({ 'shop/bad.yaml': undefined }));
    },
    180_000,
  );

  async function synced(stack: Stack, commit: string): Promise<void> {
    await inPhase(stack, commit, Phase.PHASE_SYNCED);
  }

  async function inPhase(stack: Stack, commit: string, phase: Phase): Promise<UnitStatus> {
    const find = async (): Promise<UnitStatus | undefined> =>
      (await stack.api.units(NEVER)).find(
        (unit) => unit.unit === 'shop' && unit.phase === phase && unit.desiredCommitId === commit,
      );
    return await waitUntil(find, { what: `${commit} to be in phase ${phase}`, timeoutMs: 60_000 });
  }
});
