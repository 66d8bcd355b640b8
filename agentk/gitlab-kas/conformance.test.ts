import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ReplayServer } from '../../test/compatibility/replay-server.ts';
import { MANIFESTS, PROJECT, TOKEN } from '../../test/compatibility/story.ts';
import { readTranscript } from '../../test/compatibility/wire/transcript.ts';
import { silentLog } from '../../test/harness/silent-log.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { GitlabAccess } from '../gitlab-access/gitlab-access.ts';
import type { Configuration, Engine, UnitBundle } from '../gitops/unit.ts';
import { openKasChannel } from '../session/kas-channel.ts';
import { connectToKas } from '../session/kas-connection.ts';
import { type AgentIdentity, KasSession } from '../session/kas-session.ts';
import { StatusReporter } from '../session/status-reporter.ts';
import type { ProjectUnit } from './gitlab-configuration.ts';
import { GitlabSession } from './gitlab-session.ts';
import { parseUnitSettings } from './unit-settings.ts';

// What the server says is what kas of GitLab 13.8 said when it was recorded (test/compatibility/record.ts).

const TESTDATA = join(import.meta.dirname, '../../kas/gitlab-agent/testdata');

let folder: TempDir;
let stop: AbortController;

beforeEach(async () => {
  folder = await createTempDir();
  stop = new AbortController();
});

afterEach(async () => {
  stop.abort();
  await folder.remove();
});

/** Takes what the session hands to the engine. */
class Taken {
  readonly configurations: Configuration[] = [];
  readonly bundles: UnitBundle[] = [];
  readonly identities: AgentIdentity[] = [];

  get engine(): Engine {
    return {
      configure: (configuration) => void this.configurations.push(configuration),
      submit: (bundle) => void this.bundles.push(bundle),
      held: () => this.bundles.slice(-1),
      resync: () => false,
      diff: async () => undefined,
      confirmPrune: () => undefined,
    };
  }
}

test('agentk takes configuration and objects from kas 13.8, and goes on from commit to commit', async () => {
  await using kas = await ReplayServer.listen(await readTranscript(join(TESTDATA, 'our-agentk-to-kas.jsonl')));
  const address = { url: `grpc://${kas.address}`, tokenFile: join(folder.path, 'token'), caCertFile: undefined };
  await writeFile(address.tokenFile, TOKEN);
  const taken = new Taken();
  const log = silentLog;
  const engine = Promise.resolve(taken.engine);
  const older = new GitlabSession({
    open: () => openKasChannel(address, { gzip: true }),
    meta: { commitId: '', podNamespace: 'ns', podName: 'pod' },
    identify: async (told) => ({ id: told || 5, name: 'agent-5', made: false }),
    engine,
    settings: parseUnitSettings('defaults: {prune: false}', 'settings.yaml'),
    gitlabAccess: new GitlabAccess(),
    log,
  });
  const session = new KasSession({
    connect: (signal) => connectToKas(address, signal),
    older,
    engine,
    log,
    reporter: new StatusReporter(),
    describe: async () => ({ commitId: '', podNamespace: 'ns', podName: 'pod', kubernetesVersion: '' }),
    onIdentity: (identity) => void taken.identities.push(identity),
    objectCache: { configure: () => undefined },
    tunnels: { allow: () => undefined, attach: () => () => undefined },
    gitlabAccess: new GitlabAccess(),
  });
  let readied = 0;
  const running = session.run(() => void (readied += 1), stop.signal);
  const bundles = await waitUntil(() => taken.bundles.length === 3 && taken.bundles, { what: 'all that was recorded' });
  stop.abort();
  await running;

  expect(readied).toBeGreaterThan(0);
  expect(taken.identities).toEqual([{ id: 5, name: 'agent-5' }]);
  expect(taken.configurations.map(({ units }) => units.map((unit) => unit as ProjectUnit))).toMatchObject([
    [
      {
        name: PROJECT,
        project: PROJECT,
        defaultNamespace: 'shop',
        globs: ['apps/**/*.yaml', '/*.json'],
        inclusions: [{ apiGroups: [''], kinds: ['ConfigMap'] }],
        exclusions: [{ apiGroups: ['apps', ''], kinds: ['*'] }],
        prune: false,
      },
    ],
    [{ name: PROJECT, defaultNamespace: 'default', globs: ['**/*.{yaml,yml,json}'], inclusions: [], exclusions: [] }],
  ]);
  const names = bundles.map(({ bundle }) => bundle.objects.map(({ id }) => id.name));
  const first = ['big', 'dot-file', 'root', 'settings', 'two-a', 'two-b'];
  expect(names).toEqual([first, first, ['big', 'dot-file', 'not-matched', 'root', 'settings', 'two-a', 'two-b']]);
  const big = bundles[0]?.bundle.objects.find(({ id }) => id.name === 'big');
  expect(String(big?.content).length).toBeGreaterThan(128 << 10);
  expect(MANIFESTS[0]?.['apps/big.yaml']).toContain((JSON.parse(String(big?.content)) as { data: { value: string } }).data.value);
  const valueOf = (bundle: UnitBundle | undefined) =>
    JSON.parse(String(bundle?.bundle.objects.find(({ id }) => id.name === 'settings')?.content)).data.value;
  expect(bundles.map(valueOf)).toEqual(['1', '2', '2']);
  expect(new Set(bundles.map(({ commitId }) => commitId)).size).toBe(2);
  expect(bundles.every(({ incomplete }) => !incomplete)).toBe(true);
});
