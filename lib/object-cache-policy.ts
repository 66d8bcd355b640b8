/** What an agent keeps of its cluster for others to ask: the part of its configuration that kas reads from Git and agentk acts on. */
export interface ObjectCachePolicy {
  /** Of all that is kept; a selection that would go beyond it is not kept at all. */
  readonly memoryLimitBytes: number;
  readonly selections: readonly CacheSelection[];
}

export interface CacheSelection {
  /** Empty: the core group. */
  readonly group: string;
  /** `*`: every kind of the group that can be listed and watched, but Secrets. */
  readonly kind: string;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  /** As kubectl's `--selector` and `--field-selector`; empty: all. */
  readonly labelSelector: string;
  readonly fieldSelector: string;
  /** See `lib/field-mask.ts`. Empty: everything but managedFields, and of Secrets neither data nor annotations. */
  readonly fields: readonly string[];
  /** Whether changes are sent on as they happen, without anybody asking. */
  readonly stream: boolean;
}

export const NO_OBJECT_CACHE: ObjectCachePolicy = { memoryLimitBytes: 64 << 20, selections: [] };
