import type { LiveObject } from '../../kube/cluster.ts';

/**
 * Whether the live object holds every value of the body that we would apply, as written. True means that applying would
 * change nothing. False may also mean that the server writes a value in another way (`1000m` as `1`): applying is
 * harmless then.
 */
export function covers(body: string, live: LiveObject): boolean {
  return holds(JSON.parse(body), live);
}

function holds(wanted: unknown, live: unknown): boolean {
  if (wanted === null || wanted === undefined) return true;
  if (Array.isArray(wanted)) {
    const items: readonly unknown[] = Array.isArray(live) ? live : [];
    return wanted.length === items.length && wanted.every((item, index) => holds(item, items[index]));
  }
  if (typeof wanted !== 'object') return wanted === live;
  const fields = Object.entries(wanted);
  const target = typeof live === 'object' && live !== null ? (live as Record<string, unknown>) : {};
  // What stands inside an empty object of ours was put there by somebody.
  if (fields.length === 0) return Object.keys(target).length === 0;
  return fields.every(([name, value]) => holds(value, target[name]));
}
