/** Labels and annotations that the engine writes and reads. ApplySet: KEP-3659, https://git.k8s.io/enhancements/keps/sig-cli/3659-kubectl-apply-prune */

/** Label of members: the id of their ApplySet. */
export const PART_OF = 'applyset.kubernetes.io/part-of';
/** Label of the parent: the id of the ApplySet it stands for. */
export const APPLYSET_ID = 'applyset.kubernetes.io/id';
export const APPLYSET_TOOLING = 'applyset.kubernetes.io/tooling';
export const APPLYSET_GROUP_KINDS = 'applyset.kubernetes.io/contains-group-kinds';
export const APPLYSET_NAMESPACES = 'applyset.kubernetes.io/additional-namespaces';

/** Label of members: the agent's id. One watch per kind selects by it, whatever the number of units. */
export const AGENT_ID = 'kas.gitops/agent';
/** Annotation of members: digest of the manifest applied last, so that a restarted agent knows what it did. */
export const DIGEST = 'kas.gitops/digest';
/** Label of what is remembered of a unit's objects: the id of their ApplySet. */
export const STATE_OF = 'kas.gitops/state-of';
/** Annotation of the parent: the unit it belongs to, for people. */
export const UNIT = 'kas.gitops/unit';

/** Annotation of the parent: what becomes of the objects when the unit leaves the configuration, `orphan` or `prune`. */
export const REMOVAL_POLICY = 'kas.gitops/removal-policy';
/** Annotation of the parent: how they are pruned then, as JSON. */
export const REMOVAL_RULES = 'kas.gitops/removal-rules';
/** Annotation of the parent: commit of the configuration in which the unit was found missing. */
export const REMOVED_AT = 'kas.gitops/removed-at';
/** Annotation of the parent, written by persons: the commit or bundle whose prune may go over the budget. */
export const CONFIRM_PRUNE = 'kas.gitops/confirm-prune';

const KEEP: readonly (readonly [annotation: string, value: RegExp])[] = [
  ['kas.gitops/prune', /^disabled$/],
  ['kas.gitops/apply', /^ignore$/],
  ['kustomize.toolkit.fluxcd.io/prune', /^disabled$/i],
  ['kustomize.toolkit.fluxcd.io/ssa', /^ignore$/i],
  ['argocd.argoproj.io/sync-options', /(^|,)\s*Prune=false\s*(,|$)/i],
  ['helm.sh/resource-policy', /(^|,)\s*keep\s*(,|$)/],
  ['cli-utils.sigs.k8s.io/on-remove', /^keep$/],
  ['client.lifecycle.config.k8s.io/deletion', /^detach$/],
];

/** The annotation that forbids to delete the object, as `name: value`; undefined when there is none. */
export function keepAnnotation(annotations: Readonly<Record<string, string>> | undefined): string | undefined {
  if (annotations === undefined) return undefined;
  for (const [name, pattern] of KEEP) {
    const value = annotations[name];
    if (value !== undefined && pattern.test(value)) return `${name}: ${value}`;
  }
  return undefined;
}
