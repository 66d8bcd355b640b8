import type { ObjectId } from '../../../lib/object-id.ts';

/** Integer; objects of a higher wave wait until those of all lower ones are applied and healthy. Default 0. */
export const WAVE = 'kas.gitops/wave';
/** Objects that must be applied and healthy before this one, separated by commas; see `parseReference`. */
export const DEPENDS_ON = 'kas.gitops/depends-on';
/** https://argo-cd.readthedocs.io/en/stable/user-guide/sync-waves/ */
const ARGO_WAVE = 'argocd.argoproj.io/sync-wave';
/** https://github.com/kubernetes-sigs/cli-utils */
const CLI_UTILS_DEPENDS_ON = 'config.kubernetes.io/depends-on';

/** The order that a person asked for in the annotations of an object. */
export interface OrderHints {
  readonly wave: number;
  readonly dependsOn: readonly ObjectId[];
  /** Why the annotations cannot be followed, with the remedy: such an object must not be applied at just any time. */
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

export const NO_HINTS: OrderHints = { wave: 0, dependsOn: [], errors: [], warnings: [] };

const FORMAT = 'write group/namespaces/NAMESPACE/Kind/name, or group/Kind/name when it has no namespace; the core group is empty';

/** Our annotations, else those of other tools under the same meaning. Pure. */
export function orderHints(annotations: Readonly<Record<string, unknown>> | undefined): OrderHints {
  if (annotations === undefined) return NO_HINTS;
  const errors: string[] = [];
  const warnings: string[] = [];
  const wave = readWave(annotations, errors, warnings);
  const dependsOn = new Map<string, ObjectId>();
  for (const name of [DEPENDS_ON, CLI_UTILS_DEPENDS_ON]) {
    for (const text of parts(annotations[name])) {
      const reference = parseReference(text);
      if (reference === undefined) errors.push(`${name}: "${shorten(text)}" names no object; ${FORMAT}`);
      else dependsOn.set(text, reference);
    }
  }
  if (wave === 0 && dependsOn.size === 0 && errors.length === 0 && warnings.length === 0) return NO_HINTS;
  return { wave, dependsOn: [...dependsOn.values()], errors, warnings };
}

/** `group/namespaces/ns/Kind/name` or `group/Kind/name`, as cli-utils reads it; undefined for anything else. */
export function parseReference(text: string): ObjectId | undefined {
  const fields = text.split('/');
  const [group = '', ...rest] = fields;
  if (fields.length === 5 && rest[0] === 'namespaces') {
    const [, namespace = '', kind = '', name = ''] = rest;
    return namespace === '' || kind === '' || name === '' ? undefined : { group, kind, namespace, name };
  }
  const [kind = '', name = ''] = rest;
  return fields.length !== 3 || kind === '' || name === '' ? undefined : { group, kind, namespace: '', name };
}

/** The opposite of `parseReference`. */
export function formatReference({ group, kind, namespace, name }: ObjectId): string {
  return namespace === '' ? `${group}/${kind}/${name}` : `${group}/namespaces/${namespace}/${kind}/${name}`;
}

function readWave(annotations: Readonly<Record<string, unknown>>, errors: string[], warnings: string[]): number {
  const own = annotations[WAVE];
  if (typeof own === 'string') {
    const wave = integer(own);
    if (wave === undefined)
      errors.push(`${WAVE}: "${shorten(own)}" is no wave; write an integer between -999999999 and 999999999`);
    return wave ?? 0;
  }
  const argo = annotations[ARGO_WAVE];
  if (typeof argo !== 'string') return 0;
  const wave = integer(argo);
  // Argo CD, too, takes what it cannot read for 0.
  if (wave === undefined) warnings.push(`${ARGO_WAVE}: "${shorten(argo)}" is no integer and counts as 0; correct it`);
  return wave ?? 0;
}

function integer(text: string): number | undefined {
  return /^\s*[+-]?\d{1,9}\s*$/.test(text) ? Number(text) + 0 : undefined;
}

function parts(value: unknown): readonly string[] {
  if (typeof value !== 'string') return [];
  const texts = value.split(',').map((text) => text.trim());
  // Nothing, and one comma at the end, are harmless.
  if (texts.at(-1) === '') texts.pop();
  return texts;
}

function shorten(text: string): string {
  return text.length <= 100 ? text : `${text.slice(0, 100)}…`;
}
