import type { FieldDrift } from '../unit.ts';

const MOST_FIELDS = 100;
const MOST_TEXT = 256;
const HIDDEN = '(hidden)';

/** What the server writes by itself with every change: no difference that anybody made. */
const SERVERS_OWN: ReadonlySet<string> = new Set([
  'status',
  'metadata.managedFields',
  'metadata.resourceVersion',
  'metadata.generation',
  'metadata.uid',
  'metadata.creationTimestamp',
  'metadata.selfLink',
]);

/**
 * Where two objects differ, as JSON, outermost places first come: `desired` what a sync would leave, `live` what there is. Values
 * are shortened to 256 characters; those of a Secret are hidden. At most 100, then one entry more that says how many were left out.
 */
export function jsonDiff(desired: unknown, live: unknown): readonly FieldDrift[] {
  const isSecret = [desired, live].some((object) => member(object, 'kind') === 'Secret' && member(object, 'apiVersion') === 'v1');
  const found: FieldDrift[] = [];
  compare([], desired, live, (path, wanted, there) => {
    if (SERVERS_OWN.has(path.join('.'))) return;
    const hides = isSecret && isContent(path);
    const text = (value: unknown): string | undefined => (value === undefined ? undefined : hides ? HIDDEN : short(value));
    found.push({ path: format(path), desired: text(wanted), live: text(there) });
  });
  if (found.length <= MOST_FIELDS) return found;
  const rest = `(${found.length - MOST_FIELDS} more)`;
  return [...found.slice(0, MOST_FIELDS), { path: rest, desired: undefined, live: undefined }];
}

type Path = readonly (string | number)[];

function compare(path: Path, desired: unknown, live: unknown, tell: (path: Path, desired: unknown, live: unknown) => void): void {
  if (desired === live) return;
  if (SERVERS_OWN.has(path.join('.'))) return;
  if (Array.isArray(desired) && Array.isArray(live)) {
    for (let index = 0; index < Math.max(desired.length, live.length); index++)
      compare([...path, index], desired[index], live[index], tell);
    return;
  }
  if (isRecord(desired) && isRecord(live)) {
    for (const name of new Set([...Object.keys(desired), ...Object.keys(live)]))
      compare([...path, name], desired[name], live[name], tell);
    return;
  }
  tell(path, desired, live);
}

/** Data, what holds it, and the copy of the manifest that `kubectl apply` leaves in an annotation. */
function isContent([first, second, third]: Path): boolean {
  if (first === undefined || first === 'data' || first === 'stringData') return true;
  return (
    first === 'metadata' &&
    (second === undefined || (second === 'annotations' && (third === undefined || String(third).startsWith('kubectl.'))))
  );
}

function format(path: Path): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : /^[\w-]+$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`))
    .join('');
}

function short(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= MOST_TEXT ? text : `${text.slice(0, MOST_TEXT - 1)}…`.toWellFormed();
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function member(object: unknown, name: string): unknown {
  return isRecord(object) ? object[name] : undefined;
}
