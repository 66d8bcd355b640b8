import { UserError } from './errors.ts';

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors, as `kubectl --selector` takes it. */
export type LabelSelector = (labels: Readonly<Record<string, string>>) => boolean;

const NAME = String.raw`[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?`;
const VALUE = String.raw`(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?`;
const EXISTS = new RegExp(String.raw`^(!?)\s*(${NAME})$`);
const EQUALS = new RegExp(String.raw`^(${NAME})\s*(=|==|!=)\s*(${VALUE})$`);
const IN = new RegExp(String.raw`^(${NAME})\s+(in|notin)\s*\(\s*(${VALUE}(?:\s*,\s*${VALUE})*)\s*\)$`);

/** An empty text matches everything. Throws a `UserError` that names the part that is not understood. */
export function parseLabelSelector(text: string): LabelSelector {
  if (text.trim() === '') return () => true;
  const requirements = splitRequirements(text).map(parseRequirement);
  return (labels) => requirements.every((matches) => matches(labels));
}

/** At commas that are not within parentheses. */
function splitRequirements(text: string): readonly string[] {
  return text.split(/,(?![^(]*\))/).map((part) => part.trim());
}

function parseRequirement(text: string): LabelSelector {
  const exists = EXISTS.exec(text);
  if (exists !== null) {
    const [, not, name = ''] = exists;
    return (labels) => Object.hasOwn(labels, name) === (not === '');
  }
  const equals = EQUALS.exec(text);
  if (equals !== null) {
    const [, name = '', operator, value = ''] = equals;
    return (labels) => (valueOf(labels, name) === value) === (operator !== '!=');
  }
  const among = IN.exec(text);
  if (among === null)
    throw new UserError(`"${text}" is not a label requirement; write it like app=web, tier in (a, b) or !canary`);
  const [, name = '', operator, list = ''] = among;
  const values = new Set(list.split(',').map((value) => value.trim()));
  return (labels) => values.has(valueOf(labels, name) ?? '\0') === (operator === 'in');
}

function valueOf(labels: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(labels, name) ? labels[name] : undefined;
}
