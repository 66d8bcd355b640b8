import type { LabelCondition } from '../../../lib/label-selector.ts';

/** All of them must hold. */
export type LabelSelector = readonly LabelCondition[];

const OPERATORS: ReadonlySet<string> = new Set(['In', 'NotIn', 'Exists', 'DoesNotExist']);

/** Reads a `LabelSelector` of the API, https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/label-selector/ */
export function readSelector(value: unknown): LabelSelector {
  if (typeof value !== 'object' || value === null) return [];
  const { matchLabels, matchExpressions } = value as { matchLabels?: unknown; matchExpressions?: unknown };
  const labels = typeof matchLabels === 'object' && matchLabels !== null ? Object.entries(matchLabels) : [];
  return [
    ...labels.map(([key, label]): LabelCondition => ({ key, operator: 'In', values: [String(label)] })),
    ...(Array.isArray(matchExpressions) ? matchExpressions : []).flatMap(readExpression),
  ];
}

function readExpression(value: unknown): readonly LabelCondition[] {
  const { key, operator, values } = (value ?? {}) as { key?: unknown; operator?: unknown; values?: unknown };
  if (typeof key !== 'string' || typeof operator !== 'string' || !OPERATORS.has(operator)) return [];
  const texts = Array.isArray(values) ? values.map(String) : [];
  return [{ key, operator: operator as LabelCondition['operator'], values: texts }];
}
