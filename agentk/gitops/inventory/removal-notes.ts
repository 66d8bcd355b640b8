import type { UnitPolicy } from '../../../lib/unit-policy.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { REMOVAL_POLICY, REMOVAL_RULES } from '../desired/labels.ts';

type RemovalPolicies = Pick<
  UnitPolicy,
  'removalPolicy' | 'prunePropagation' | 'pruneTimeoutMs' | 'pruneBudget' | 'serviceAccount' | 'inclusions' | 'exclusions'
>;

/** What has to be known of a unit after it left the configuration. */
export interface Removal extends RemovalPolicies {
  /** From where it was; absent: an older agent did not write it down. */
  readonly project?: string | undefined;
  readonly ref?: string | undefined;
  /** Of the agent that had the unit: another one with the same number is the agent of another kas. */
  readonly agentName: string;
}

/** Annotations of the ApplySet parent by which an agent that was away knows what to do with a unit that is gone. */
export function removalNotes(unit: Omit<Removal, 'agentName'>, agentName: string): Readonly<Record<string, string>> {
  const { project, ref, removalPolicy, prunePropagation, pruneTimeoutMs, pruneBudget } = unit;
  const { serviceAccount, inclusions, exclusions } = unit;
  const policies = { prunePropagation, pruneTimeoutMs, pruneBudget, serviceAccount, inclusions, exclusions };
  const rules = { agentName, project, ref, ...policies } satisfies Omit<Removal, 'removalPolicy'>;
  return { [REMOVAL_POLICY]: removalPolicy, [REMOVAL_RULES]: JSON.stringify(rules) };
}

/** Undefined unless the parent says, in a way that is understood, that its objects are to be pruned. */
export function parseRemoval({ metadata: { annotations } }: LiveObject): Removal | undefined {
  if (annotations?.[REMOVAL_POLICY] !== 'prune') return undefined;
  try {
    const rules = JSON.parse(annotations[REMOVAL_RULES] ?? '') as Partial<Removal> | null;
    return isComplete(rules) ? { ...rules, removalPolicy: 'prune' } : undefined;
  } catch {
    // Written by hand, or by a newer agent: nothing is deleted by a guess.
    return undefined;
  }
}

function isComplete(rules: Partial<Removal> | null): rules is Removal {
  if (rules === null || typeof rules.agentName !== 'string' || typeof rules.pruneTimeoutMs !== 'number') return false;
  const { prunePropagation, pruneBudget, serviceAccount, inclusions, exclusions } = rules;
  if (![rules.project, rules.ref].every((value) => value === undefined || typeof value === 'string')) return false;
  if (!areFilters(inclusions) || !areFilters(exclusions)) return false;
  if (prunePropagation !== 'background' && prunePropagation !== 'foreground' && prunePropagation !== 'orphan') return false;
  if (typeof pruneBudget?.objects !== 'number' || typeof pruneBudget.percent !== 'number') return false;
  return (
    serviceAccount === undefined || (typeof serviceAccount.namespace === 'string' && typeof serviceAccount.name === 'string')
  );
}

function areFilters(filters: Removal['exclusions'] | undefined): boolean {
  const isText = (values: unknown): boolean => Array.isArray(values) && values.every((value) => typeof value === 'string');
  return Array.isArray(filters) && filters.every((filter) => isText(filter?.apiGroups) && isText(filter?.kinds));
}
