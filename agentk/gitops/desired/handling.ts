/** How one object is to be treated, as its manifest says by annotations. */
export interface Handling {
  readonly mode: ApplyMode;
  /** May be deleted and created anew when a field that cannot be changed has to. */
  readonly recreate: boolean;
}

/**
 * `apply`: Git decides. `merge`: Git decides on the fields it names and nothing else: what others left or add is never taken
 * over. `create-only`: made when it is not there, then left alone. `ignore`: not touched at all.
 */
export type ApplyMode = 'apply' | 'merge' | 'create-only' | 'ignore';

type Annotations = Readonly<Record<string, string>>;

/** Ours first: what it says counts, whatever stands beside it. */
export const APPLY_MODE = 'kas.gitops/apply';
export const RECREATE = 'kas.gitops/recreate';

const MODES: ReadonlySet<string> = new Set<ApplyMode>(['apply', 'merge', 'create-only', 'ignore']);

/** As other tools write it: https://fluxcd.io/flux/components/kustomize/kustomizations/#controlling-the-apply-behavior-of-resources, kpt lifecycle directives. */
const MODE_ALIASES: readonly (readonly [annotation: string, value: string, mode: ApplyMode])[] = [
  ['kustomize.toolkit.fluxcd.io/ssa', 'merge', 'merge'],
  ['kustomize.toolkit.fluxcd.io/ssa', 'ifnotpresent', 'create-only'],
  ['kustomize.toolkit.fluxcd.io/ssa', 'ignore', 'ignore'],
  ['kustomize.toolkit.fluxcd.io/reconcile', 'disabled', 'ignore'],
  ['client.lifecycle.config.k8s.io/mutation', 'ignore', 'create-only'],
];

const DEFAULT: Handling = { mode: 'apply', recreate: false };

/** What it cannot make sense of is told by `handlingProblem`, and counts as not there. */
export function readHandling(annotations: Annotations | undefined): Handling {
  if (annotations === undefined) return DEFAULT;
  const mode = modeOf(annotations);
  const recreate = mayBeRecreated(annotations);
  return mode === 'apply' && !recreate ? DEFAULT : { mode, recreate };
}

/** Empty when the annotations say something known. */
export function handlingProblem(annotations: Annotations | undefined): string {
  const mode = annotations?.[APPLY_MODE];
  if (mode !== undefined && !MODES.has(mode))
    return `Annotation ${APPLY_MODE}: ${mode} means nothing: use apply, merge, create-only or ignore`;
  const recreate = annotations?.[RECREATE];
  if (recreate !== undefined && recreate !== 'allowed') return `Annotation ${RECREATE}: ${recreate} means nothing: use allowed`;
  return '';
}

function modeOf(annotations: Annotations): ApplyMode {
  const own = annotations[APPLY_MODE];
  if (own !== undefined && MODES.has(own)) return own as ApplyMode;
  const alias = MODE_ALIASES.find(([name, value]) => text(annotations[name]) === value);
  return alias?.[2] ?? 'apply';
}

function mayBeRecreated(annotations: Annotations): boolean {
  const own = annotations[RECREATE];
  if (own !== undefined) return own === 'allowed';
  if (text(annotations['kustomize.toolkit.fluxcd.io/force']) === 'enabled') return true;
  const options = text(annotations['argocd.argoproj.io/sync-options']).split(',');
  // Replace without Force never deletes.
  return options.some((option) => option.trim() === 'force=true');
}

function text(value: string | undefined): string {
  return (value ?? '').trim().toLowerCase();
}
