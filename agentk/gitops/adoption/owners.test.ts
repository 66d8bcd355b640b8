import type { LiveObject } from '../../kube/cluster.ts';
import { ownerOf } from './owners.ts';

const claimant = { agentId: '5', applySetId: 'applyset-ours-v1', fieldManager: 'agentk-5' };

function live(marks: {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly managedFields?: LiveObject['metadata']['managedFields'];
}): LiveObject {
  const metadata = { name: 'a', namespace: 'demo', uid: 'u', resourceVersion: '1', ...marks };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata } as LiveObject;
}

describe('ownerOf', () => {
  it.each([
    ['nothing', {}],
    ['labels of the claimant', { labels: { 'kas.gitops/agent': '5', 'applyset.kubernetes.io/part-of': 'applyset-ours-v1' } }],
    [
      'another unit of the same agent',
      { labels: { 'kas.gitops/agent': '5', 'applyset.kubernetes.io/part-of': 'applyset-x-v1' } },
    ],
    ['the label alone that charts set', { labels: { 'app.kubernetes.io/managed-by': 'Helm' } }],
    [
      'an annotation of Helm on what Helm does not manage',
      {
        annotations: { 'meta.helm.sh/release-name': 'shop' },
        labels: { 'app.kubernetes.io/managed-by': 'somebody' },
      },
    ],
    [
      'a tracking id that was copied from another object',
      { annotations: { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:demo/b' } },
    ],
  ])('finds nobody in %s', (_title, marks) => {
    expect(ownerOf(live(marks), claimant)).toBeUndefined();
  });

  it('knows an application of Argo CD by the id of this very object', () => {
    const found = ownerOf(live({ annotations: { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:demo/a' } }), claimant);
    expect(found?.name).toBe('Argo CD application shop');
  });

  it('leaves alone marks that stand in Git, since the claimant applied them itself', () => {
    const labels = { 'kustomize.toolkit.fluxcd.io/name': 'shop', 'kustomize.toolkit.fluxcd.io/namespace': 'flux-system' };
    const fieldsV1 = { 'f:metadata': { 'f:labels': { 'f:kustomize.toolkit.fluxcd.io/name': {} } } };
    const ours = { manager: 'agentk-5', operation: 'Apply', apiVersion: 'apps/v1', fieldsV1 } as const;
    expect(ownerOf(live({ labels }), claimant)?.name).toBe('Flux Kustomization flux-system/shop');
    expect(ownerOf(live({ labels, managedFields: [ours] }), claimant)).toBeUndefined();
  });
});
