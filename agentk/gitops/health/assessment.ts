import type { LiveObject } from '../../kube/cluster.ts';
import type { Health } from '../unit.ts';

export interface Assessment {
  readonly health: Health;
  /** One line for people, never empty. */
  readonly message: string;
}

/** What the status of one kind means. Deletion, observedGeneration and the standard conditions were looked at before. */
export type HealthRule = (object: LiveObject) => Assessment;

/** https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md */
export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

export function current(message: string): Assessment {
  return { health: 'current', message };
}

export function inProgress(message: string): Assessment {
  return { health: 'in_progress', message };
}

export function failed(message: string): Assessment {
  return { health: 'failed', message };
}

/** `.status.conditions`; what is not shaped like a condition is passed over. */
export function conditionsOf(object: LiveObject): readonly Condition[] {
  const conditions = fieldAt(object, 'status', 'conditions');
  if (!Array.isArray(conditions)) return [];
  return conditions
    .map((condition) => ({
      type: textOf(fieldAt(condition, 'type')),
      status: textOf(fieldAt(condition, 'status')),
      reason: textOf(fieldAt(condition, 'reason')),
      message: textOf(fieldAt(condition, 'message')),
    }))
    .filter((condition) => condition.type !== '');
}

export function conditionOf(object: LiveObject, type: string): Condition | undefined {
  return conditionsOf(object).find((condition) => condition.type === type);
}

export function isTrue(object: LiveObject, type: string): boolean {
  return conditionOf(object, type)?.status === 'True';
}

/** What a condition says: its message, else its reason, else `otherwise`. */
export function sayingOf(condition: Condition | undefined, otherwise: string): string {
  return condition?.message || condition?.reason || otherwise;
}

export function numberAt(object: LiveObject, path: readonly string[], otherwise: number): number {
  const value = fieldAt(object, ...path);
  return typeof value === 'number' ? value : otherwise;
}

export function textAt(object: LiveObject, path: readonly string[], otherwise: string): string {
  return textOf(fieldAt(object, ...path)) || otherwise;
}

export function fieldAt(value: unknown, ...path: readonly string[]): unknown {
  let at = value;
  for (const name of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Readonly<Record<string, unknown>>)[name];
  }
  return at;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
