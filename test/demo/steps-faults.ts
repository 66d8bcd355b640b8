import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { Seen } from '../harness/api-reader.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { inPhase, type Scene, SHOP, unitStatus } from './scene.ts';
import { driftOf } from './steps-drift.ts';
import { seconds } from './story.ts';

const MANY = 2_000;
const SELECTOR = 'labelSelector=catalogue%3Dyes';
const CATALOGUE = '/api/v1/namespaces/shop/configmaps';

const replicas = (object: Seen | undefined): unknown => (object?.['spec'] as { replicas?: number } | undefined)?.replicas;

function catalogue(edition: number): string {
  const item = (number: number): string =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: item-${number}\n  labels: {catalogue: "yes"}\ndata:\n  edition: "${edition}"\n`;
  return Array.from({ length: MANY }, (_, number) => item(number)).join('---\n');
}

/** How many catalogue items exist in this edition. */
async function items(scene: Scene, edition: number): Promise<number> {
  const objects = await scene.cluster.list(`${CATALOGUE}?${SELECTOR}`);
  return objects.filter((object) => (object['data'] as { edition?: string }).edition === String(edition)).length;
}

export async function agentKilled(scene: Scene): Promise<void> {
  const { story, stack, repository, cluster } = scene;
  await story.step(`agentk is killed with -9 during a sync of ${MANY} objects and started again: it converges`, async (saw) => {
    await repository.write('shop/catalogue.yaml', catalogue(1));
    const pushed = repository.commitAndPush('Add the catalogue');
    await waitUntil(async () => (await cluster.list(`${CATALOGUE}?${SELECTOR}&limit=1`)).length > 0, {
      what: 'the sync to begin',
      intervalMs: 2,
    });
    await stack.agentk.kill();
    const atKill = await items(scene, 1);
    if (atKill >= MANY) throw new Error(`the sync was over before the kill`);
    saw(`killed when ${atKill} of ${MANY} objects existed`);
    const restarted = performance.now();
    await stack.agentk.start();
    const commit = await pushed;
    await inPhase(scene, Phase.PHASE_SYNCED, commit);
    if ((await items(scene, 1)) !== MANY) throw new Error('objects are missing');
    saw(`all ${MANY} exist, Synced ${seconds(performance.now() - restarted)} after the restart`);
  });
  await story.step(
    'agentk is killed, a commit removes most objects, agentk starts again: they go once that is confirmed',
    async (saw) => {
      await stack.agentk.kill();
      await repository.remove('shop/catalogue.yaml');
      const commit = await repository.commitAndPush('Remove the catalogue');
      await stack.agentk.start();
      const asked = await inPhase(scene, Phase.PHASE_DEGRADED, commit);
      if (asked.reason !== 'PruneNeedsConfirmation') throw new Error(`nobody was asked: ${asked.reason}`);
      if ((await items(scene, 1)) !== MANY) throw new Error('objects were deleted before that was confirmed');
      saw(`kas answers RoR: ${asked.message}`);
      await stack.api.operate(asked.agentName, asked.unit, { type: 'confirmPrune', commitId: commit }, scene.signal);
      await inPhase(scene, Phase.PHASE_SYNCED, commit);
      if ((await items(scene, 1)) !== 0) throw new Error('the inventory forgot objects');
      saw(`all ${MANY} are gone: the inventory in the cluster remembered them`);
    },
  );
}

export async function kasKilled(scene: Scene): Promise<void> {
  const { story, stack, kubectl, cluster } = scene;
  await story.step('kas is killed with -9: agentk goes on correcting drift, then reconnects', async (saw) => {
    await stack.kas.kill();
    const since = new Date();
    await kubectl.run('scale', '--namespace=shop', 'deployment/orders', '--replicas=4');
    await cluster.until(SHOP.orders, (deployment) => replicas(deployment) === 1, 'the drift to be corrected without kas');
    saw('kubectl scale was corrected while kas was gone');
    const restarted = performance.now();
    await stack.kas.start();
    await unitStatus(scene, (unit) => unit.agentConnected && unit.phase === Phase.PHASE_SYNCED, 'agentk to be back');
    saw(`agentk is connected again and Synced ${seconds(performance.now() - restarted)} after kas was started`);
    const drift = await driftOf(scene, 'orders', '.spec.replicas', since);
    saw(`kas now knows of the drift that ${drift.manager} caused while it was gone`);
  });
}

export async function withoutNotification(scene: Scene, pollPeriodMs: number): Promise<void> {
  const { story, stack, repository, cluster } = scene;
  await story.step(`Push notification off: a commit is live within the poll period of ${seconds(pollPeriodMs)}`, async (saw) => {
    await stack.reconfigure({ notifications: false, pollPeriodMs });
    await unitStatus(scene, (unit) => unit.agentConnected && unit.phase === Phase.PHASE_SYNCED, 'agentk to be back');
    await repository.replace('shop/settings.yaml', /currency: SEK/, 'currency: NOK');
    const started = performance.now();
    const pushed = repository.commitAndPush('Change the currency');
    const live = (settings: Seen | undefined): boolean =>
      (settings?.['data'] as { currency?: string } | undefined)?.currency === 'NOK';
    await cluster.until(SHOP.settings, live, 'the change to be live', pollPeriodMs * 3);
    const tookMs = performance.now() - started;
    await pushed;
    // Push and apply come on top of the wait for the next poll.
    if (tookMs > pollPeriodMs + 1_000) throw new Error(`it took ${seconds(tookMs)}`);
    saw(`live after ${seconds(tookMs)}`);
    story.figure('by polling', `${seconds(tookMs)} (period ${seconds(pollPeriodMs)})`);
  });
}
