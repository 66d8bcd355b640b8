import type { FieldKeys } from './fields-v1.ts';
import { mergeKeys, parseKey } from './live-values.ts';

/**
 * A path for people: `.spec.template.spec.containers[name="app"].image`, `.metadata.labels["app.kubernetes.io/name"]`,
 * `.spec.ports[port=80,protocol="TCP"]`, `.metadata.finalizers["example.org/a"]`; `.` for the object itself.
 */
export function formatFieldPath(keys: FieldKeys): string {
  return keys.length === 0 ? '.' : keys.map(formatKey).join('');
}

function formatKey(key: string): string {
  if (key.startsWith('f:')) {
    const name = key.slice(2);
    return /^[A-Za-z_$][\w$-]*$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`;
  }
  if (!key.startsWith('k:')) return `[${JSON.stringify(parseKey(key))}]`;
  const parts = Object.entries(mergeKeys(key)).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `[${parts.join(',')}]`;
}
