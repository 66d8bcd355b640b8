import { buildImage } from '../../image/build.ts';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { configMap } from '../e2e/repository.ts';
import { useCluster } from '../harness/cluster.ts';
import { freePort } from '../harness/free-port.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { imagePackages, UnpackedImage } from '../image/unpacked-image.ts';
import { AgentRelease } from './agent-release.ts';
import { Installation } from './installation.ts';

const NEVER = new AbortController().signal;
const AGENT = 'image';

describe('The charts with the image', () => {
  const cluster = useCluster();
  let directory: TempDir;
  let installation: Installation;
  let release: AgentRelease;

  beforeAll(async () => {
    directory = await createTempDir();
    const built = await buildImage(await imagePackages(NEVER), NEVER);
    const image = await UnpackedImage.unpack(built.archive, directory.path);
    installation = await Installation.open({ cluster, agents: [AGENT], image });
    release = await AgentRelease.install(installation, AGENT, await freePort(), {});
  }, 30 * 60_000);

  afterAll(async () => {
    await release[Symbol.asyncDispose]();
    await installation[Symbol.asyncDispose]();
    await directory.remove();
  });

  it('sync, prune and correct, as their pods say: arguments, files, variables, user and service account', async () => {
    const shop = await cluster.namespace();
    const synced = async (commit: string): Promise<void> => {
      const isSynced = (unit: { phase: Phase; desiredCommitId: string }): boolean =>
        unit.phase === Phase.PHASE_SYNCED && unit.desiredCommitId === commit;
      await installation.status(AGENT, isSynced, `${commit} to be synced`);
    };
    const path = (name: string): string => `/api/v1/namespaces/${shop}/configmaps/${name}`;
    await release.start();
    expect(await release.ready()).toBe(200);
    const repository = await installation.repository(AGENT, shop);
    const files = { 'a.yaml': configMap('a', { from: 'git' }), 'b.yaml': configMap('b', { from: 'git' }) };
    await synced(await repository.addUnit('shop', files));
    await synced(await repository.push({ 'shop/b.yaml': undefined }));
    expect(await installation.reader.get(path('b'))).toBeUndefined();
    await cluster.kubectl(['-n', shop, 'patch', 'configmap', 'a', '--type=merge', '-p', '{"data":{"from":"edited"}}']);
    await installation.reader.until(path('a'), (live) => JSON.stringify(live).includes('"git"'), 'the correction');
  }, 300_000);
});
