import { parseRef } from './live-api.ts';

interface Identity {
  readonly group: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

/** Whether `ConfigMap settings` means this object; without a namespace it is the scenario's, or none. */
export function isRef(ref: string, id: Identity, namespace: string): boolean {
  const wanted = parseRef(ref);
  if (wanted.name !== id.name || (wanted.kind !== id.kind && wanted.kind !== `${id.kind}.${id.group}`)) return false;
  return wanted.namespace === undefined ? id.namespace === namespace || id.namespace === '' : wanted.namespace === id.namespace;
}

/** Where `live` is not as `wanted` says; a mapping may have more keys than wanted, a list not more items; null is absence. */
export function differences(wanted: unknown, live: unknown, path = ''): readonly string[] {
  if (wanted === null || wanted === undefined) return live === undefined || live === null ? [] : [differs(path, 'absent', live)];
  if (Array.isArray(wanted)) {
    if (!Array.isArray(live) || live.length !== wanted.length) return [differs(path, wanted, live)];
    return wanted.flatMap((item, index) => differences(item, live[index], `${path}[${index}]`));
  }
  if (typeof wanted === 'object') {
    if (typeof live !== 'object' || live === null || Array.isArray(live)) return [differs(path, wanted, live)];
    const values = live as Readonly<Record<string, unknown>>;
    return Object.entries(wanted).flatMap(([key, value]) => differences(value, values[key], `${path}.${key}`));
  }
  return wanted === live ? [] : [differs(path, wanted, live)];
}

function differs(path: string, wanted: unknown, live: unknown): string {
  const text = (value: unknown): string => (value === undefined ? 'absent' : JSON.stringify(value).slice(0, 300));
  return `${path === '' ? 'the object' : path} is ${text(live)} instead of ${wanted === 'absent' ? 'absent' : text(wanted)}`;
}
