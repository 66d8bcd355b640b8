import { UserError } from './errors.ts';

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors, as `kubectl --selector` takes it. */
export type LabelSelector = (labels: Readonly<Record<string, string>>) => boolean;

const NAME = String.raw`[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?`;
const VALUE = String.raw`(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?`;
const EXISTS = new RegExp(String.raw`^(!?)\s*(${NAME})$`);
const EQUALS = new RegExp(String.raw`^(${NAME})\s*(=|==|!=)\s*(${VALUE})$`);
const IN = new RegExp(String.raw`^(${NAME})\s+(in|notin)\s*\(\s*(${VALUE}(?:\s*,\s*${VALUE})*)\s*\)$`);

/** One condition on labels; all of a selector must hold, none matches everything. */
export interface LabelCondition {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

/** Labels that `isKnown` says nothing of may be anything, and match. */
export function matchesLabels(
  conditions: readonly LabelCondition[],
  labels: Readonly<Record<string, string>> = {},
  isKnown: (key: string) => boolean = () => true,
): boolean {
  return conditions.every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    if (value === undefined && !isKnown(key)) return true;
    if (operator === 'Exists') return value !== undefined;
    if (operator === 'DoesNotExist') return value === undefined;
    return (value !== undefined && values.includes(value)) === (operator === 'In');
  });
}

/** An empty text matches everything. Throws a `UserError` that names the part that is not understood. */
export function parseLabelSelector(text: string): LabelSelector {
  if (text.trim() === '') return () => true;
  const conditions = splitRequirements(text).map(parseRequirement);
  return (labels) => matchesLabels(conditions, labels);
}

/** At commas that are not within parentheses. */
function splitRequirements(text: string): readonly string[] {
  return text.split(/,(?![^(]*\))/).map((part) => part.trim());
}

function parseRequirement(text: string): LabelCondition {
  const exists = EXISTS.exec(text);
  if (exists !== null) {
    const [, not, key = ''] = exists;
    return { key, operator: not === '' ? 'Exists' : 'DoesNotExist', values: [] };
  }
  const equals = EQUALS.exec(text);
  if (equals !== null) {
    const [, key = '', operator, value = ''] = equals;
    return { key, operator: operator === '!=' ? 'NotIn' : 'In', values: [value] };
  }
  const among = IN.exec(text);
  if (among === null)
    throw new UserError(`"${text}" is not a label requirement; write it like app=web, tier in (a, b) or !canary`);
  const [, key = '', operator, list = ''] = among;
  const values = list.split(',').map((value) => value.trim());
  return { key, operator: operator === 'in' ? 'In' : 'NotIn', values };
}
