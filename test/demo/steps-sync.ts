import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { Seen } from '../harness/api-reader.ts';
import { inPhase, type Scene, SHOP, unitStatus } from './scene.ts';
import { seconds } from './story.ts';

interface Workload extends Seen {
  readonly spec: {
    readonly replicas: number;
    readonly template: { readonly spec: { readonly containers: readonly { readonly image: string }[] } };
  };
  readonly status?: { readonly readyReplicas?: number; readonly succeeded?: number };
}

const image = (object: Seen | undefined): string | undefined =>
  (object as Workload | undefined)?.spec.template.spec.containers[0]?.image;
const ready = (object: Seen | undefined): number => (object as Workload | undefined)?.status?.readyReplicas ?? 0;

export async function initialSync(scene: Scene): Promise<void> {
  const { story, cluster, stack } = scene;
  const started = performance.now();
  await story.step(
    'The example is synced: namespaces, a CRD and its resources, RBAC, settings, Deployments, a Job',
    async (saw) => {
      const { agentk } = stack;
      await agentk.start();
      await cluster.until(SHOP.autumn, (coupon) => coupon, 'the custom resource');
      saw(`custom resource ${SHOP.autumn} exists`);
      await cluster.until(SHOP.role, (role) => role, 'the Role');
      await cluster.until(SHOP.settings, (settings) => settings, 'the ConfigMap');
      saw('Role, RoleBinding, ServiceAccount and ConfigMaps exist');
      await cluster.until(SHOP.frontend, (deployment) => ready(deployment) === 2, 'the Deployment "frontend" to be ready');
      await cluster.until(SHOP.orders, (deployment) => ready(deployment) === 1, 'the Deployment "orders" to be ready');
      saw('both Deployments are Ready');
      await cluster.until(SHOP.job, (job) => (job as Workload | undefined)?.status?.succeeded === 1, 'the Job to complete');
      saw('the Job completed');
      const unit = await unitStatus(scene, ({ phase }) => phase === Phase.PHASE_SYNCED, 'kas to say Synced');
      saw(`kas answers RoR: Synced, ${unit.objects.length} objects, commit ${unit.appliedCommitId.slice(0, 8)}`);
      story.figure(
        'initial sync',
        `${seconds(performance.now() - started)} (${unit.objects.length} objects, until all are ready)`,
      );
    },
  );
}

const SAMPLES = 5;

export async function imageChange(scene: Scene): Promise<void> {
  const { story, cluster, repository } = scene;
  await story.step('A commit that changes an image is live', async (saw) => {
    const samples: number[] = [];
    let commit = '';
    for (let sample = 1; sample <= SAMPLES; sample += 1) {
      const wanted = `registry.example.com/shop/frontend:1.1.${sample}`;
      await repository.replace('shop/frontend.yaml', /frontend:1\.[0-9.]+$/m, `frontend:1.1.${sample}`);
      const started = performance.now();
      const pushed = repository.commitAndPush(`Release frontend 1.1.${sample}`);
      await cluster.until(SHOP.frontend, (deployment) => image(deployment) === wanted, `image ${wanted}`);
      samples.push(performance.now() - started);
      commit = await pushed;
    }
    const median = samples.toSorted((a, b) => a - b)[Math.floor(SAMPLES / 2)] ?? Number.POSITIVE_INFINITY;
    saw(`commit, push, live on the API server: ${samples.map(seconds).join(', ')}`);
    if (median >= 1_000) throw new Error(`commit-to-live took ${seconds(median)}, 1 s is allowed`);
    story.figure('commit-to-live', `${seconds(median)} (median of ${SAMPLES}, git commit and push included)`);
    await inPhase(scene, Phase.PHASE_SYNCED, commit);
    saw(`kas answers RoR: Synced at ${commit.slice(0, 8)}`);
  });
}

/** uid and generation (or resourceVersion, where the server counts none) of everything but the object removed. */
async function footprint(scene: Scene): Promise<string> {
  const paths = [SHOP.frontend, SHOP.orders, SHOP.settings, SHOP.autumn, SHOP.role, SHOP.job];
  const objects = await Promise.all(paths.map((path) => scene.cluster.get(path)));
  return JSON.stringify(
    objects.map((object) => [object?.metadata.uid, object?.metadata.generation ?? object?.metadata.resourceVersion]),
  );
}

export async function removal(scene: Scene): Promise<void> {
  const { story, cluster, repository, kubectl } = scene;
  await story.step('A commit that removes a resource: it is pruned, nothing else is touched', async (saw) => {
    await kubectl.run('create', 'configmap', 'not-from-git', '--namespace=shop', '--from-literal=a=b');
    const foreign = '/api/v1/namespaces/shop/configmaps/not-from-git';
    const before = await footprint(scene);
    const foreignBefore = (await cluster.get(foreign))?.metadata.resourceVersion;
    await repository.replace('shop/settings.yaml', /^---\n[\s\S]*$/m, '');
    const started = performance.now();
    const pushed = repository.commitAndPush('Remove the banner');
    await cluster.until(SHOP.banner, (banner) => banner === undefined, 'the ConfigMap "banner" to be gone');
    story.figure('commit-to-pruned', seconds(performance.now() - started));
    await inPhase(scene, Phase.PHASE_SYNCED, await pushed);
    if ((await footprint(scene)) !== before) throw new Error('another object was touched');
    if ((await cluster.get(foreign))?.metadata.resourceVersion !== foreignBefore) throw new Error('a foreign object was touched');
    saw('ConfigMap shop/banner is gone; every other object, and one that is not from Git, is as it was');
  });
}

export async function brokenCommit(scene: Scene): Promise<void> {
  const { story, repository } = scene;
  await story.step('A commit with a broken manifest: a clear error, the rest stays', async (saw) => {
    const before = await footprint(scene);
    await repository.write(
      'shop/orders.yaml',
      (await repository.read('shop/orders.yaml')).replace('  replicas: 1', '\treplicas: 1'),
    );
    const commit = await repository.commitAndPush('Break a manifest');
    const unit = await inPhase(scene, Phase.PHASE_FAILED, commit);
    const problem = unit.problems.find(({ file }) => file === 'shop/orders.yaml');
    if (problem === undefined || problem.line === 0)
      throw new Error(`the status names no file and line: ${JSON.stringify(unit.problems)}`);
    saw(`kas answers RoR: Failed, ${problem.file}:${problem.line}: ${problem.message}`);
    if ((await footprint(scene)) !== before) throw new Error('the broken commit changed something');
    saw('nothing in the cluster changed');
  });
  await story.step('A manifest the cluster refuses: a clear error for that object, the others are applied', async (saw) => {
    await repository.write(
      'shop/orders.yaml',
      (await repository.read('shop/orders.yaml')).replace('\treplicas: 1', '  replicas: 1'),
    );
    await repository.replace('shop/coupons.yaml', /percent: 15/, 'percent: 150');
    await repository.replace('shop/settings.yaml', /currency: EUR/, 'currency: SEK');
    const commit = await repository.commitAndPush('Offer too much');
    const unit = await inPhase(scene, Phase.PHASE_FAILED, commit);
    const failed = unit.objects.filter(({ action, message }) => message !== '' && action !== 0 && message.includes('percent'));
    if (failed.length !== 1 || failed[0] === undefined)
      throw new Error(`expected one failed object: ${JSON.stringify(unit.objects)}`);
    saw(`kas answers RoR: ${failed[0].id?.kind} ${failed[0].id?.name} (${failed[0].source}): ${failed[0].message}`);
    await scene.cluster.until(
      SHOP.settings,
      (settings) => JSON.stringify(settings).includes('SEK'),
      'the other change to be live',
    );
    saw('the other change of that commit is live');
  });
  await story.step('A commit that fixes it', async (saw) => {
    await repository.replace('shop/coupons.yaml', /percent: 150/, 'percent: 25');
    const commit = await repository.commitAndPush('Offer less');
    await scene.cluster.until(SHOP.autumn, (coupon) => JSON.stringify(coupon).includes('"percent":25'), 'the fixed coupon');
    await inPhase(scene, Phase.PHASE_SYNCED, commit);
    saw(`kas answers RoR: Synced at ${commit.slice(0, 8)}, no problems`);
  });
}
