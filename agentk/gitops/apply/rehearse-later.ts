import type { ObjectId } from '../../../lib/object-id.ts';
import type { Step } from '../plan/plan.ts';
import type { Outcome } from '../plan/tracked-object.ts';
import { isOfOldSchema } from './apply-errors.ts';

export interface Prerequisites {
  /** Refused for the only reason that something of the same bundle is not there yet. */
  readonly deferred: ReadonlySet<string>;
  /** What is to be applied before they can be tried. */
  readonly keys: ReadonlySet<string>;
}

/** What a refusal says is missing, by its reason. Pure. */
const MISSING: Readonly<Record<string, (refused: Step, other: Step, message: string) => boolean>> = {
  NamespaceNotFound: ({ desired }, other) => isNamespace(other.desired.id, desired.id.namespace),
  NotServed: isDefinedBy,
  // The property may come with the bundle's version of the CRD.
  Invalid: (refused, other, message) => isOfOldSchema({ message }) && isDefinedBy(refused, other),
  ServiceAccountNotFound: ({ desired }, { desired: { id } }) =>
    id.group === '' && id.kind === 'ServiceAccount' && id.namespace === desired.id.namespace,
  ReferenceNotFound: (_refused, { desired: { id } }) => id.kind === 'PriorityClass' || id.kind === 'RuntimeClass',
  // A binding to a role that is not there, made by one who may not grant everything.
  NotFound: ({ desired }, { desired: { id } }) =>
    desired.id.kind.endsWith('Binding') && id.group === desired.id.group && id.kind.endsWith('Role'),
};

/** Which refused objects of a bundle are to be tried again once others of it are applied, and which others. Pure. */
export function prerequisitesOf(
  refused: readonly Step[],
  answers: ReadonlyMap<string, Outcome | 'accepted'>,
  steps: readonly Step[],
): Prerequisites {
  const changed = steps.filter(({ kind }) => kind === 'contact' || kind === 'apply');
  const deferred = new Set<string>();
  const keys = new Set<string>();
  for (const step of refused) {
    const answer = answers.get(step.desired.key);
    const { reason, message } = typeof answer === 'object' ? answer : { reason: '', message: '' };
    const missing = changed.filter((other) => MISSING[reason]?.(step, other, message) === true);
    if (missing.length === 0) continue;
    deferred.add(step.desired.key);
    for (const { desired } of missing) {
      keys.add(desired.key);
      const { namespace } = desired.id;
      for (const other of changed) if (namespace !== '' && isNamespace(other.desired.id, namespace)) keys.add(other.desired.key);
    }
  }
  return { deferred, keys };
}

function isDefinedBy({ desired: { id } }: Step, { desired: { manifest } }: Step): boolean {
  return manifest.defines?.group === id.group && manifest.defines.kind === id.kind;
}

function isNamespace({ group, kind, name }: ObjectId, wanted: string): boolean {
  return group === '' && kind === 'Namespace' && name === wanted;
}
