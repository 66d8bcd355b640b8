import type { LiveObject } from '../../kube/cluster.ts';
import type { FieldDrift } from '../unit.ts';
import { formatFieldPath } from './field-path.ts';
import type { FieldKeys } from './fields-v1.ts';
import type { DriftPath } from './judge.ts';
import { valueAt } from './live-values.ts';

const maxFields = 50;
const maxTextLength = 256;
const hidden = '(hidden)';

/**
 * Says what differs, field by field: at most 50, then one entry more whose path says how many were left out.
 *
 * @param desired The manifest as JSON; what it leaves to defaults is reported as absent.
 */
export function describeFields(paths: readonly DriftPath[], desired: unknown, live: LiveObject): readonly FieldDrift[] {
  const places = outermost(paths.map((path) => (path.order ? path : { keys: lostParent(path.keys, live), order: false })));
  const shown = places.slice(0, maxFields).map((place) => describe(place, desired, live));
  if (places.length <= maxFields) return shown;
  const rest = places.length - maxFields;
  return [...shown, { path: `(${rest} more)`, desired: undefined, live: undefined }];
}

function describe({ keys, order }: DriftPath, desired: unknown, live: LiveObject): FieldDrift {
  const text = isSecretContent(keys, live) ? hiddenText : order ? orderText : shortText;
  return { path: formatFieldPath(keys), desired: text(valueAt(desired, keys)), live: text(valueAt(live, keys)) };
}

/** The outermost place around `keys` that is not there any more. */
function lostParent(keys: FieldKeys, live: LiveObject): FieldKeys {
  for (let length = 1; length < keys.length; length++) {
    const parent = keys.slice(0, length);
    if (valueAt(live, parent) === undefined) return parent;
  }
  return keys;
}

/** Without repetitions and without what lies in another place of the list. */
function outermost(places: readonly DriftPath[]): readonly DriftPath[] {
  const whole = new Set(places.filter((place) => !place.order).map(({ keys }) => identity(keys)));
  const told = new Set<string>();
  return places.filter(({ keys, order }) => {
    const id = `${order} ${identity(keys)}`;
    if (told.has(id)) return false;
    told.add(id);
    if (order && whole.has(identity(keys))) return false;
    return !keys.some((_key, length) => whole.has(identity(keys.slice(0, length))));
  });
}

function identity(keys: FieldKeys): string {
  return JSON.stringify(keys);
}

/** Data of a Secret, what holds it, and the copy of the manifest that `kubectl apply` leaves in an annotation. */
function isSecretContent(keys: FieldKeys, live: LiveObject): boolean {
  if (live.kind !== 'Secret' || live.apiVersion !== 'v1') return false;
  const [first, second, third] = keys;
  if (first !== 'f:metadata') return first === undefined || first === 'f:data' || first === 'f:stringData';
  if (second !== undefined && second !== 'f:annotations') return false;
  return third === undefined || third === 'f:kubectl.kubernetes.io/last-applied-configuration';
}

function hiddenText(value: unknown): string | undefined {
  return value === undefined ? undefined : hidden;
}

function shortText(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const text = JSON.stringify(value);
  // Cut text may end in half a character, which no UTF-8 can carry.
  return text.length <= maxTextLength ? text : `${text.slice(0, maxTextLength - 1)}…`.toWellFormed();
}

/** Of a list in another order: the names of its items tell more than the beginning of the first. */
function orderText(value: unknown): string | undefined {
  if (!Array.isArray(value)) return shortText(value);
  return shortText(value.map(itemName));
}

function itemName(item: unknown): unknown {
  for (const field of ['name', 'key', 'mountPath', 'containerPort', 'port', 'ip', 'type']) {
    const name = valueAt(item, [`f:${field}`]);
    if (name !== undefined) return name;
  }
  return item;
}
