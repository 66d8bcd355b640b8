import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { Seen } from '../harness/api-reader.ts';
import { waitUntil } from '../harness/wait-until.ts';
import type { Scene } from './scene.ts';
import { seconds } from './story.ts';

/** The second agent of the demo: it has a configuration of its own in the same repository. */
export const STAGING = { id: 2, name: 'staging' };

const OVERLAYS = ['production', 'staging'];
const CONFIG_OF_DEMO = '.gitlab/agents/demo/config.yaml';

const counter = (overlay: string): string => `/apis/apps/v1/namespaces/counter-${overlay}/deployments/counter`;

const replicas = (object: Seen | undefined): number | undefined =>
  (object as { spec?: { replicas?: number } } | undefined)?.spec?.replicas;

export async function overlaysOfTwoAgents(scene: Scene): Promise<void> {
  const { story, cluster, repository, staging } = scene;
  await story.step('A kustomization with two overlays, for two agents', async (saw) => {
    await repository.write('counter/base/kustomization.yaml', 'resources: [deployment.yaml]\n');
    await repository.write('counter/base/deployment.yaml', DEPLOYMENT);
    for (const [overlay, count] of [
      ['production', 3],
      ['staging', 1],
    ] as const)
      await writeOverlay(scene, overlay, count);
    const config = await repository.read(CONFIG_OF_DEMO);
    await repository.write(CONFIG_OF_DEMO, config.replace('manifest_projects:\n', `manifest_projects:\n${unitOf('production')}`));
    const ofStaging = `gitops:\n  manifest_projects:\n${unitOf('staging')}`;
    await repository.write(`.gitlab/agents/${STAGING.name}/config.yaml`, ofStaging);
    const commit = await repository.commitAndPush('Count in two places');
    await staging.start();
    for (const overlay of OVERLAYS) await synced(scene, overlay, commit);
    saw('counter runs with 3 replicas in counter-production, by the agent "demo", and with 1 in counter-staging, by "staging"');
  });
  await story.step('A change in one overlay reaches one agent only', async (saw) => {
    const before = await versionOf(cluster.get(counter('production')));
    await writeOverlay(scene, 'staging', 2);
    const started = performance.now();
    const pushed = repository.commitAndPush('Count more in staging');
    await cluster.until(counter('staging'), (deployment) => replicas(deployment) === 2, '2 replicas in counter-staging');
    story.figure('overlay-to-live', seconds(performance.now() - started));
    const commit = await pushed;
    for (const overlay of OVERLAYS) await synced(scene, overlay, commit);
    if ((await versionOf(cluster.get(counter('production')))) !== before) throw new Error('the other overlay was touched');
    saw(`kas answers RoR: both Synced at ${commit.slice(0, 8)}; the Deployment in counter-production is as it was`);
  });
}

async function writeOverlay({ repository }: Scene, overlay: string, count: number): Promise<void> {
  await repository.write(
    `counter/overlays/${overlay}/namespace.yaml`,
    `apiVersion: v1\nkind: Namespace\nmetadata:\n  name: counter-${overlay}\n`,
  );
  await repository.write(
    `counter/overlays/${overlay}/kustomization.yaml`,
    `resources:\n- namespace.yaml\n- ../../base\nnamespace: counter-${overlay}\nreplicas:\n- name: counter\n  count: ${count}\n`,
  );
}

function unitOf(overlay: string): string {
  return `    - id: demo/shop\n      name: counter-${overlay}\n      kustomize:\n        path: counter/overlays/${overlay}\n`;
}

async function synced(scene: Scene, overlay: string, commit: string): Promise<void> {
  const find = async (): Promise<true | undefined> => {
    const units = await scene.stack.api.units(scene.signal);
    const unit = units.find(({ unit: name }) => name === `counter-${overlay}`);
    return unit?.phase === Phase.PHASE_SYNCED && unit.desiredCommitId === commit ? true : undefined;
  };
  await waitUntil(find, { timeoutMs: 30_000, intervalMs: 20, what: `counter-${overlay} to be Synced` }, scene.signal);
}

/** Its status changes by itself; what we write counts in its generation. */
async function versionOf(reading: Promise<Seen | undefined>): Promise<string> {
  const object = await reading;
  return `${object?.metadata.uid} ${object?.metadata.generation}`;
}

const DEPLOYMENT = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: counter
spec:
  selector:
    matchLabels:
      app: counter
  template:
    metadata:
      labels:
        app: counter
    spec:
      containers:
        - name: counter
          image: registry.example.com/counter:1.0
`;
