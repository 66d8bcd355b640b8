import type { ResourceType } from '../../kube/cluster.ts';
import type { Desired, Misplaced, Resolution } from '../desired/desired.ts';
import type { EngineParts } from '../sync-context.ts';
import { EMPTY_SCOPE, type Scope, scopeOf } from './inventory.ts';

export interface Following {
  /** Objects whose kind is watched, or will be when it is served. */
  readonly desired: readonly Desired[];
  readonly failed: readonly Misplaced[];
  /**
   * Kinds of the inventory of which it is not known whether they have objects: nobody serves them (their CRD is gone, or the
   * server behind their APIService is away), or they cannot be watched. With them all its namespaces, since they may be there.
   */
  readonly unseen: Scope;
}

/** Watches all kinds of the bundle and of the inventory. Objects fail where their kind cannot be watched. */
export async function followScope(
  { desired, failed }: Resolution,
  scope: Scope,
  { catalog, live }: EngineParts,
  signal: AbortSignal,
): Promise<Following> {
  const types = new Map<string, ResourceType>();
  for (const { id, manifest } of desired) {
    const type = catalog.resourceType(id.group, id.kind, manifest.version);
    if (type !== undefined) types.set(`${id.group}|${id.kind}|${manifest.version}`, type);
  }
  const followed = new Set([...types.values()].map(({ group, kind }) => `${group}|${kind}`));
  const unserved = new Set<string>();
  for (const kind of scope.kinds) {
    const [group = '', name = ''] = kind.split('|');
    if (followed.has(kind) || live.follows(group, name)) continue;
    const type = catalog.resourceType(group, name);
    if (type === undefined) unserved.add(kind);
    else types.set(kind, type);
  }
  const namespaces = scopeOf(desired.map(({ id }) => id)).namespaces.union(scope.namespaces);
  const failures = await live.follow(types.values(), namespaces, signal);
  const kinds = unserved.union(new Set(failures.map(({ kind }) => kind)));
  const unseen = kinds.size === 0 ? EMPTY_SCOPE : { kinds, namespaces: scope.namespaces };
  if (failures.length === 0) return { desired, failed, unseen };
  const errors = new Map(failures.map(({ kind, namespace, error }) => [`${kind}|${namespace}`, error]));
  const failure = ({ id }: Desired): Error | undefined =>
    errors.get(`${id.group}|${id.kind}|`) ?? errors.get(`${id.group}|${id.kind}|${id.namespace}`);
  const blind = desired.flatMap((object) => {
    const error = failure(object);
    const message = `${object.id.kind} objects cannot be watched: ${error?.message ?? ''}`;
    return error === undefined ? [] : [{ desired: object, reason: 'CannotWatch', message }];
  });
  return { desired: desired.filter((object) => failure(object) === undefined), failed: [...failed, ...blind], unseen };
}

/** Kinds of these objects that the agent may watch in single namespaces only, for people. */
export function followedByNamespace(desired: readonly Desired[], { live }: Pick<EngineParts, 'live'>): readonly string[] {
  const restricted = desired.filter(({ id }) => live.followsByNamespace(id.group, id.kind));
  return [...new Set(restricted.map(({ id }) => id.kind))].toSorted();
}
