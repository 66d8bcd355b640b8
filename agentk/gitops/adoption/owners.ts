import type { LiveObject } from '../../kube/cluster.ts';
import { AGENT_ID, PART_OF } from '../desired/labels.ts';
import { applyEntry, nodeAt } from '../drift/fields-v1.ts';

/** Somebody else's inventory that an object says it belongs to. */
export interface Owner {
  /** For people: `Flux Kustomization apps/shop`. */
  readonly name: string;
  /** The labels and annotations that say so: without them the owner neither knows nor prunes the object. */
  readonly labels: readonly string[];
  readonly annotations: readonly string[];
  /** Field managers that the owner writes under: their fields are taken over with the object. */
  readonly managers: readonly string[];
}

/** Who asks. */
export interface Claimant {
  readonly agentId: string;
  readonly applySetId: string;
  readonly fieldManager: string;
}

type Values = Readonly<Record<string, string>>;

interface Marks {
  readonly live: LiveObject;
  readonly labels: Values;
  readonly annotations: Values;
}

const FLUX_MANAGERS: readonly string[] = ['kustomize-controller', 'helm-controller', 'gotk-*', 'flux*'];
const ARGO_MANAGERS: readonly string[] = ['argocd*'];
const HELM_MANAGERS: readonly string[] = ['helm*', 'Helm*', 'Go-http-client'];
/** The agent of GitLab up to 17; ours are `agentk-<id>`. cli-utils applies as the latter where nobody names it. */
const GITLAB_MANAGERS: readonly string[] = ['agentk', 'gitlab-agent*', 'application/apply-patch'];

/**
 * How other tools mark what is theirs. All that match count, since one object can carry the marks of several
 * (a Flux HelmRelease is also a Helm release). Sources: fluxcd/pkg ssa, argo-cd `common/common.go`, helm `pkg/action/validate.go`,
 * cli-utils `pkg/common/common.go`.
 */
const TOOLS: readonly ((marks: Marks) => Owner | undefined)[] = [
  flux('kustomize.toolkit.fluxcd.io', 'Flux Kustomization'),
  flux('helm.toolkit.fluxcd.io', 'Flux HelmRelease'),
  argo,
  helm,
  ({ annotations }) => {
    const mark = 'config.k8s.io/owning-inventory';
    const inventory = annotations[mark];
    return inventory === undefined ? undefined : owner(`inventory ${inventory} of cli-utils`, [], [mark], GITLAB_MANAGERS);
  },
  ({ annotations }) => {
    const mark = 'k8s-agent.gitlab.com/managed-object';
    return annotations[mark] === undefined ? undefined : owner("GitLab's agent", [], [mark], GITLAB_MANAGERS);
  },
];

/**
 * Whom the object belongs to by its labels and annotations; undefined when to nobody, or to the claimant. Marks that the
 * claimant applied itself, since they stand in Git, say nothing.
 */
export function ownerOf(live: LiveObject, claimant: Claimant): Owner | undefined {
  const engine = otherAgent(live, claimant);
  const tool = otherTool(live, claimant.fieldManager);
  if (engine === undefined || tool === undefined) return engine ?? tool;
  return joined(engine, tool);
}

/** Another tool than this one that marked the object as its own. */
export function otherTool(live: LiveObject, fieldManager: string): Owner | undefined {
  const { labels, annotations } = live.metadata;
  if (labels === undefined && annotations === undefined) return undefined;
  const marks = { live, labels: labels ?? {}, annotations: annotations ?? {} };
  let found: Owner | undefined;
  for (const tool of TOOLS) {
    const candidate = tool(marks);
    if (candidate === undefined || isApplied(candidate, live, fieldManager)) continue;
    found = found === undefined ? candidate : joined(found, candidate);
  }
  return found;
}

/** An agent of this kind, or a tool with ApplySets. Their labels are overwritten by ours, so there is nothing to remove. */
function otherAgent(live: LiveObject, { agentId, applySetId }: Claimant): Owner | undefined {
  const agent = live.metadata.labels?.[AGENT_ID];
  const partOf = live.metadata.labels?.[PART_OF];
  if (agent !== undefined && agent !== agentId) return owner(`agent ${agent}`, [], [], [`agentk-${agent}`]);
  if (agent !== undefined || partOf === undefined || partOf === applySetId) return undefined;
  return owner(`ApplySet ${partOf}`, [], [], ['kubectl-applyset', 'kubectl']);
}

function flux(domain: string, name: string): (marks: Marks) => Owner | undefined {
  const marks = [`${domain}/name`, `${domain}/namespace`];
  return ({ labels }) => {
    const [unit = '', namespace = ''] = marks.map((mark) => labels[mark]);
    return unit === '' ? undefined : owner(`${name} ${namespace}/${unit}`, marks, [], FLUX_MANAGERS);
  };
}

/** A tracking id that names another object was copied together with the object it stood on. */
function argo({ live, labels, annotations }: Marks): Owner | undefined {
  const label = 'argocd.argoproj.io/instance';
  const annotation = 'argocd.argoproj.io/tracking-id';
  const installation = 'argocd.argoproj.io/installation-id';
  const [application = '', ...tracked] = (annotations[annotation] ?? '').split(':');
  const { namespace = '', name } = live.metadata;
  const group = live.apiVersion.includes('/') ? live.apiVersion.slice(0, live.apiVersion.indexOf('/')) : '';
  const { kind } = live;
  const own = tracked.join(':');
  const isTracked = own !== '' && own.startsWith(`${group}/${kind}:`) && own.endsWith(`/${name}`);
  const inNamespace = own === `${group}/${kind}:${namespace}/${name}` || namespace === '';
  const instance = isTracked && inNamespace ? application : (labels[label] ?? '');
  if (instance === '') return undefined;
  return owner(`Argo CD application ${instance}`, [label], [annotation, installation], ARGO_MANAGERS);
}

/** Charts set the label themselves; only Helm sets both. */
function helm({ labels, annotations }: Marks): Owner | undefined {
  const label = 'app.kubernetes.io/managed-by';
  const marks = ['meta.helm.sh/release-name', 'meta.helm.sh/release-namespace'];
  const [release, namespace = ''] = marks.map((mark) => annotations[mark]);
  if (release === undefined || labels[label] !== 'Helm') return undefined;
  return owner(`Helm release ${namespace}/${release}`, [label], marks, HELM_MANAGERS);
}

function owner(name: string, labels: readonly string[], annotations: readonly string[], managers: readonly string[]): Owner {
  return { name, labels, annotations, managers };
}

function joined(a: Owner, b: Owner): Owner {
  return owner(
    `${a.name} and ${b.name}`,
    [...a.labels, ...b.labels],
    [...a.annotations, ...b.annotations],
    [...a.managers, ...b.managers],
  );
}

/** Git has the marks itself, as manifests exported from a cluster do. */
function isApplied({ labels, annotations }: Owner, live: LiveObject, fieldManager: string): boolean {
  const fields = applyEntry(live, fieldManager)?.fieldsV1;
  const has = (place: string, name: string): boolean => nodeAt(fields, ['f:metadata', place, `f:${name}`]) !== undefined;
  return labels.some((name) => has('f:labels', name)) || annotations.some((name) => has('f:annotations', name));
}
