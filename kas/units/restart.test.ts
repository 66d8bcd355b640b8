import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { KasFixture, TestAgent } from '../kas-fixture.ts';

const CONFIGURATION = `gitops:
  manifest_projects: [{ name: shop, id: team/app, default_namespace: shop, paths: [{ glob: "manifests/*.yaml" }] }]
`;
const FILES = 30;

let folder: TempDir;
let kas: KasFixture;

beforeEach(async () => {
  folder = await createTempDir();
  kas = await KasFixture.start({ gitopsYaml: `, blob_cache: { folder: ${folder.path}/blobs }` });
});

afterEach(async () => {
  await kas[Symbol.asyncDispose]();
  await folder.remove();
});

async function filesRead(): Promise<number> {
  const response = await fetch(`http://${kas.address('observabilityAddress')}/metrics`, { headers: { connection: 'close' } });
  return Number(/^kas_gitaly_blobs_read_total (\d+)$/m.exec(await response.text())?.[1]);
}

test('with its files on disk a kas that was started again reads only what is new', async () => {
  const manifest = (name: number, value: string): string =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: n${name} }\ndata: { value: "${value}" }\n`;
  const configurations = await kas.gitaly.create('team/one');
  await configurations.push({ '.gitlab/agents/one/config.yaml': CONFIGURATION });
  const app = await kas.gitaly.create('team/app');
  const files = Array.from({ length: FILES }, (_, name) => [`manifests/${name}.yaml`, manifest(name, 'old')]);
  const commit = await app.push(Object.fromEntries(files));
  const token = await kas.token('one');
  const bundleAt = async (wanted: string): Promise<string> => {
    using agent = await TestAgent.connect(kas.address('agentAddress'), token);
    const { objectCount, digest } = await agent.next('bundleHeader', ({ commitId }) => commitId === wanted);
    await agent.next('bundleTrailer', (trailer) => trailer.digest.equals(digest));
    return `${objectCount} ${digest.toString('hex')}`;
  };
  const before = await bundleAt(commit);
  // The agent's configuration, too.
  expect(await filesRead()).toBe(FILES + 1);

  await kas.restart();
  expect(await bundleAt(commit)).toBe(before);
  expect(await filesRead()).toBe(0);

  await kas.stop();
  const next = await app.push({ 'manifests/7.yaml': manifest(7, 'new') });
  await kas.restart();
  expect(await bundleAt(next)).not.toBe(before);
  expect(await filesRead()).toBe(1);
}, 120_000);
