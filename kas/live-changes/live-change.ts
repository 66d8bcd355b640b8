/** What happened to an object that an agent keeps (`object_cache`, `stream: true`). */
export interface LiveChange {
  readonly agentId: number;
  /** `reset`: changes of this kind were missed; whoever follows it lists it again. */
  readonly type: 'added' | 'modified' | 'deleted' | 'reset';
  /** Empty: the core group. */
  readonly group: string;
  readonly kind: string;
  /** These are empty for `reset`; the namespace also for cluster-scoped kinds. */
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
  /** The kept fields as JSON; `null` for `reset`. */
  readonly object: string;
}

/** A change, and from where to go on after it. */
export interface LiveEntry {
  readonly cursor: string;
  readonly change: LiveChange;
}

/** `Pod`, `Deployment.apps` */
export function kindName({ group, kind }: { readonly group: string; readonly kind: string }): string {
  return group === '' ? kind : `${kind}.${group}`;
}

/** As it is broadcast: one line of JSON. */
export function toMessage({ object, ...change }: LiveChange): string {
  const text = JSON.stringify(change);
  return `${text.slice(0, -1)},"object":${object}}`;
}
