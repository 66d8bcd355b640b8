import type { Seen } from '../harness/api-reader.ts';
import { differences } from './compare.ts';
import type { LiveApi } from './live-api.ts';
import type { Expectation } from './scenario-schema.ts';

/** uid and resourceVersion of objects as expectations of earlier steps have seen them. */
export type Memory = Map<string, { readonly uid: string; readonly resourceVersion: string }>;

export interface ClusterCheck {
  readonly wrong: readonly string[];
  /** What was looked at, to be remembered once the whole expectation holds. */
  readonly seen: ReadonlyMap<string, Seen | undefined>;
}

export async function checkCluster(expected: Expectation, api: LiveApi, memory: Memory): Promise<ClusterCheck> {
  const { cluster = {}, same = [], untouched = [], recreated = [], only = {}, count = {} } = expected;
  const seen = new Map<string, Seen | undefined>();
  const wrong: string[] = [];
  for (const ref of [...Object.keys(cluster), ...same, ...untouched, ...recreated]) {
    if (!seen.has(ref)) seen.set(ref, await api.get(ref));
  }
  for (const [ref, wanted] of Object.entries(cluster)) {
    const live = seen.get(ref);
    if (wanted === 'absent') wrong.push(...(live === undefined ? [] : [`${ref} exists`]));
    else if (live === undefined) wrong.push(`${ref} does not exist`);
    else if (wanted !== 'present') wrong.push(...differences(wanted, live).map((difference) => `${ref}: ${difference}`));
  }
  const compare = (
    ref: string,
    holds: (live: Seen, before: { uid: string; resourceVersion: string }) => boolean,
    not: string,
  ) => {
    const before = memory.get(ref);
    if (before === undefined) throw new Error(`no earlier expectation has looked at ${ref}`);
    const live = seen.get(ref);
    if (live === undefined || !holds(live, before)) wrong.push(`${ref} ${live === undefined ? 'does not exist' : not}`);
  };
  for (const ref of same) compare(ref, (live, { uid }) => live.metadata.uid === uid, 'was made anew');
  for (const ref of untouched)
    compare(ref, (live, before) => live.metadata.resourceVersion === before.resourceVersion, 'was written');
  for (const ref of recreated) compare(ref, (live, { uid }) => live.metadata.uid !== uid, 'was not made anew');
  for (const [kind, names] of Object.entries(only)) {
    const live = await api.names(kind);
    if (live.toSorted().join() !== names.toSorted().join()) wrong.push(`${kind}: there are ${live.toSorted().join(', ')}`);
  }
  for (const [kind, wanted] of Object.entries(count)) {
    const { length } = await api.names(kind);
    if (length !== wanted) wrong.push(`${kind}: there are ${length} instead of ${wanted}`);
  }
  return { wrong, seen };
}

export function remember(memory: Memory, { seen }: ClusterCheck): void {
  for (const [ref, object] of seen) {
    if (object === undefined) memory.delete(ref);
    else memory.set(ref, { uid: object.metadata.uid, resourceVersion: object.metadata.resourceVersion });
  }
}
