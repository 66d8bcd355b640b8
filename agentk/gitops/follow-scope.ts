import type { ResourceType } from '../kube/cluster.ts';
import type { Desired } from './desired.ts';
import type { Scope } from './inventory.ts';
import type { EngineParts } from './sync-context.ts';

/**
 * Watches all kinds of the bundle and of the inventory that are served. Kinds of the inventory that are not have no
 * objects; those of the bundle that are not yet are followed when they come.
 */
export async function followScope(
  desired: readonly Desired[],
  scope: Scope,
  { catalog, live }: EngineParts,
  signal: AbortSignal,
): Promise<void> {
  const types = new Map<string, ResourceType>();
  for (const { id, manifest } of desired) {
    const name = `${id.group}|${id.kind}|${manifest.version}`;
    if (types.has(name)) continue;
    const type = catalog.resourceType(id.group, id.kind, manifest.version);
    if (type !== undefined) types.set(name, type);
  }
  const followed = new Set([...types.values()].map(({ group, kind }) => `${group}|${kind}`));
  for (const kind of scope.kinds) {
    const [group = '', name = ''] = kind.split('|');
    const type = catalog.resourceType(group, name);
    if (followed.has(kind) || live.follows(group, name) || type === undefined) continue;
    types.set(kind, type);
  }
  await live.follow(types.values(), signal);
}
