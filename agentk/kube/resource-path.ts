import type { ObjectRef, ResourceType } from './cluster.ts';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** URL path of a collection: of one namespace, or cluster-wide when it is empty or the type is cluster-scoped. */
export function collectionPath(type: ResourceType, namespace: string, query: Query = {}): string {
  const root = type.group === '' ? `/api/${type.version}` : `/apis/${encodeURIComponent(type.group)}/${type.version}`;
  const scope = type.namespaced && namespace !== '' ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${root}${scope}/${encodeURIComponent(type.resource)}${queryText(query)}`;
}

export function objectPath(ref: ObjectRef, query: Query = {}): string {
  return `${collectionPath(ref.type, ref.namespace)}/${encodeURIComponent(ref.name)}${queryText(query)}`;
}

function queryText(query: Query): string {
  const pairs = Object.entries(query).flatMap(([key, value]) =>
    value === undefined ? [] : [`${encodeURIComponent(key)}=${encodeURIComponent(String(value))}`],
  );
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}
