import { LAST_APPLIED } from '../../desired/apply-body.ts';
import type { RawApi } from '../../drift/testing/raw-api.ts';
import type { Manifest } from '../../engine-fixture.ts';

/** Another tool, by what it leaves on the objects that it makes. */
export interface OtherTool {
  readonly title: string;
  /** As the refusal names it. */
  readonly owner: RegExp | undefined;
  /** Labels and annotations that must be gone once the object is ours. */
  readonly marks: readonly string[];
  /** Makes the object at the path of its collection. */
  readonly make: (api: RawApi, collection: string, manifest: Manifest) => Promise<unknown>;
}

interface Marks {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

function marked(manifest: Manifest, { labels, annotations }: Marks): Manifest {
  const { metadata } = manifest;
  const all = { ...(metadata['annotations'] as object | undefined), ...annotations };
  return {
    ...manifest,
    metadata: { ...metadata, labels: { ...(metadata['labels'] as object | undefined), ...labels }, annotations: all },
  };
}

/** Server-side apply. */
function applies(manager: string, marksOf: (manifest: Manifest) => Marks): OtherTool['make'] {
  return async (api, collection, manifest) =>
    await api.patch(`${collection}/${manifest.metadata.name}`, manager, 'apply', marked(manifest, marksOf(manifest)));
}

/** A plain create; with `lastApplied` what kubectl's client-side apply notes on the object. */
function creates(manager: string, lastApplied: boolean, marksOf: (manifest: Manifest) => Marks): OtherTool['make'] {
  return async (api, collection, manifest) => {
    const { labels, annotations } = marksOf(manifest);
    const note = lastApplied ? { [LAST_APPLIED]: JSON.stringify(manifest) } : {};
    const object = marked(manifest, { ...(labels && { labels }), annotations: { ...annotations, ...note } });
    return await api.create(`${collection}?fieldManager=${manager}`, object);
  };
}

const helmMarks: Marks = {
  labels: { 'app.kubernetes.io/managed-by': 'Helm' },
  annotations: { 'meta.helm.sh/release-name': 'shop', 'meta.helm.sh/release-namespace': 'apps' },
};
const fluxHelm = { 'helm.toolkit.fluxcd.io/name': 'shop', 'helm.toolkit.fluxcd.io/namespace': 'flux-system' };

function argoTracking({ apiVersion, kind, metadata }: Manifest): Marks {
  const group = apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
  const id = `shop:${group}/${kind}:${metadata.namespace}/${metadata.name}`;
  return { annotations: { 'argocd.argoproj.io/tracking-id': id } };
}

export const otherTools: readonly OtherTool[] = [
  {
    title: 'kubectl apply',
    owner: undefined,
    marks: [LAST_APPLIED],
    make: creates('kubectl-client-side-apply', true, () => ({})),
  },
  {
    title: 'Flux (Kustomization)',
    owner: /Flux Kustomization flux-system\/shop/,
    marks: ['kustomize.toolkit.fluxcd.io/name', 'kustomize.toolkit.fluxcd.io/namespace'],
    make: applies('kustomize-controller', () => ({
      labels: { 'kustomize.toolkit.fluxcd.io/name': 'shop', 'kustomize.toolkit.fluxcd.io/namespace': 'flux-system' },
    })),
  },
  {
    title: 'Flux (HelmRelease)',
    owner: /Flux HelmRelease flux-system\/shop and Helm release apps\/shop/,
    marks: [...Object.keys(fluxHelm), ...Object.keys(helmMarks.annotations ?? {})],
    make: creates('helm-controller', false, () => ({ ...helmMarks, labels: { ...helmMarks.labels, ...fluxHelm } })),
  },
  {
    title: 'Argo CD by client-side apply',
    owner: /Argo CD application shop/,
    marks: ['argocd.argoproj.io/tracking-id', LAST_APPLIED],
    make: creates('argocd-controller', true, argoTracking),
  },
  {
    title: 'Argo CD by server-side apply, tracking by label',
    owner: /Argo CD application shop/,
    marks: ['argocd.argoproj.io/instance'],
    make: applies('argocd-controller', () => ({ labels: { 'argocd.argoproj.io/instance': 'shop' } })),
  },
  {
    title: 'Helm',
    owner: /Helm release apps\/shop/,
    marks: ['app.kubernetes.io/managed-by', ...Object.keys(helmMarks.annotations ?? {})],
    make: creates('helm', false, () => helmMarks),
  },
  {
    title: 'GitLab 13.8',
    owner: /GitLab's agent/,
    marks: ['k8s-agent.gitlab.com/managed-object', LAST_APPLIED],
    make: creates('agentk', true, () => ({ annotations: { 'k8s-agent.gitlab.com/managed-object': 'managed' } })),
  },
  {
    title: 'GitLab 14',
    owner: /inventory 1-2-3 of cli-utils/,
    marks: ['config.k8s.io/owning-inventory'],
    make: applies('agentk', () => ({ annotations: { 'config.k8s.io/owning-inventory': '1-2-3' } })),
  },
  {
    title: 'an ApplySet of kubectl',
    owner: /ApplySet applyset-other-v1/,
    marks: [],
    make: applies('kubectl-applyset', () => ({ labels: { 'applyset.kubernetes.io/part-of': 'applyset-other-v1' } })),
  },
  {
    title: 'another agent',
    owner: /agent 999999/,
    marks: [],
    make: applies('agentk-999999', () => ({
      labels: { 'applyset.kubernetes.io/part-of': 'applyset-other-v1', 'kas.gitops/agent': '999999' },
    })),
  },
];
