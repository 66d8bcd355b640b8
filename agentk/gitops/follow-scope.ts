import type { ResourceType } from '../kube/cluster.ts';
import type { Desired } from './desired.ts';
import type { Scope } from './inventory.ts';
import type { EngineParts } from './sync-context.ts';

/**
 * Watches all kinds of the bundle and of the inventory that are served; those of the bundle that are not yet are followed
 * when they come.
 *
 * @returns the kinds of the inventory, as `group|Kind`, that nobody serves: gone with their CRD, or the server behind
 * their APIService is away. There is no telling whether they have objects.
 */
export async function followScope(
  desired: readonly Desired[],
  scope: Scope,
  { catalog, live }: EngineParts,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const types = new Map<string, ResourceType>();
  for (const { id, manifest } of desired) {
    const name = `${id.group}|${id.kind}|${manifest.version}`;
    if (types.has(name)) continue;
    const type = catalog.resourceType(id.group, id.kind, manifest.version);
    if (type !== undefined) types.set(name, type);
  }
  const unseen = new Set<string>();
  const followed = new Set([...types.values()].map(({ group, kind }) => `${group}|${kind}`));
  for (const kind of scope.kinds) {
    const [group = '', name = ''] = kind.split('|');
    const type = catalog.resourceType(group, name);
    if (followed.has(kind) || live.follows(group, name)) continue;
    if (type === undefined) unseen.add(kind);
    else types.set(kind, type);
  }
  await live.follow(types.values(), signal);
  return unseen;
}
