import type { Drift } from '../../proto/gen/kas/agent/v1/objects.ts';
import { DriftOutcome } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { Seen } from '../harness/api-reader.ts';
import { type Scene, SHOP, unitStatus } from './scene.ts';
import { seconds } from './story.ts';

/** The newest drift of an object that names the field, once kas has it. */
export async function driftOf(scene: Scene, name: string, path: string, since: Date): Promise<Drift> {
  const matches = (drift: Drift): boolean =>
    drift.id?.name === name && (drift.detectedAt ?? since) > since && drift.fields.some((field) => field.path === path);
  const unit = await unitStatus(scene, ({ drifts }) => drifts.some(matches), `kas to know of the drift of ${name} at ${path}`);
  const drift = unit.drifts.find(matches);
  if (drift?.outcome !== DriftOutcome.DRIFT_OUTCOME_CORRECTED)
    throw new Error(`the drift was not corrected: ${JSON.stringify(drift)}`);
  return drift;
}

function describe(drift: Drift): string {
  const fields = drift.fields.map(({ path, desired, live }) => `${path} ${desired} -> ${live}`).join(', ');
  return `drift: ${drift.id?.kind} ${drift.id?.namespace}/${drift.id?.name} ${fields}, by ${drift.manager} at ${(drift.changedAt ?? drift.detectedAt)?.toISOString()}, corrected`;
}

const replicas = (object: Seen | undefined): unknown => (object?.['spec'] as { replicas?: number } | undefined)?.replicas;
const data = (object: Seen | undefined): Record<string, string> => (object?.['data'] ?? {}) as Record<string, string>;

export async function scaleByHand(scene: Scene): Promise<void> {
  const { story, cluster, kubectl, stack } = scene;
  await story.step('kubectl scale by hand: the drift is named and corrected', async (saw) => {
    const since = new Date();
    await kubectl.run('scale', '--namespace=shop', 'deployment/frontend', '--replicas=5');
    await cluster.until(SHOP.frontend, (deployment) => replicas(deployment) === 2, 'two replicas again');
    const drift = await driftOf(scene, 'frontend', '.spec.replicas', since);
    saw(describe(drift));
    const ms = (drift.resolvedAt?.getTime() ?? 0) - (drift.detectedAt?.getTime() ?? 0);
    story.figure('drift corrected in', seconds(ms));
    for (const service of [stack.agentk, stack.kas]) await service.waitForLine(/"msg":"Drift"|"msg":"drift/i, 5_000);
    saw('one line about it in the log of agentk and of kas');
  });
}

export async function editByHand(scene: Scene): Promise<void> {
  const { story, cluster, kubectl } = scene;
  await story.step('kubectl edit by hand: the drift is named field by field and corrected', async (saw) => {
    const since = new Date();
    const editor = 'sed -i -e s/Welcome.to.the.shop/Closed/ -e s/EUR/USD/';
    await kubectl.edit('configmap/settings', 'shop', editor);
    await cluster.until(SHOP.settings, (settings) => data(settings)['greeting'] === 'Welcome to the shop', 'the greeting of Git');
    saw(describe(await driftOf(scene, 'settings', '.data.greeting', since)));
  });
}
