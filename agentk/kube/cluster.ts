/** A kind that the API server serves. */
export interface ResourceType {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** Lower-case plural in URLs. */
  readonly resource: string;
  readonly namespaced: boolean;
  readonly verbs: ReadonlySet<string>;
}

/** A live object as JSON; only what the engine reads is typed. */
export interface LiveObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation?: number;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly finalizers?: readonly string[];
    readonly ownerReferences?: readonly {
      readonly uid: string;
      readonly kind: string;
      readonly name: string;
      readonly apiVersion: string;
    }[];
    readonly managedFields?: readonly ManagedFieldsEntry[];
  };
  readonly [field: string]: unknown;
}

export interface ManagedFieldsEntry {
  readonly manager?: string;
  readonly operation?: 'Apply' | 'Update';
  readonly apiVersion?: string;
  /** RFC 3339 */
  readonly time?: string;
  readonly fieldsV1?: FieldsV1;
  readonly subresource?: string;
}

/** Set of field paths, https://kubernetes.io/docs/reference/using-api/server-side-apply/ */
export interface FieldsV1 {
  readonly [key: string]: FieldsV1;
}

export interface ObjectRef {
  readonly type: ResourceType;
  /** Empty for cluster-scoped types. */
  readonly namespace: string;
  readonly name: string;
}

export interface ApplyOptions {
  readonly fieldManager: string;
  readonly force: boolean;
  /** Only says what would come of it; nothing is stored. */
  readonly dryRun?: boolean;
}

export interface DeleteOptions {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly propagationPolicy: 'Foreground' | 'Background' | 'Orphan';
}

export interface WatchOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /**
   * Asked about changes that come after the list, unless it is costly to find out what they are of. The event of a version
   * that is known is not told.
   */
  readonly isKnown?: (uid: string, resourceVersion: string) => boolean;
}

export type WatchEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: LiveObject }
  /**
   * Everything that existed when the watch (re)started has been delivered; what was not among it is gone.
   * A resourceVersion older than what was told before means that the cluster was set back to a backup.
   * Keys are `namespace/name`, `/name` for cluster-scoped types. Comes again after each new list, whose objects all come again as ADDED.
   */
  | { readonly type: 'SYNCED'; readonly keys: ReadonlySet<string>; readonly resourceVersion: string };

/** Whose rights a request has, https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/ */
export interface Impersonation {
  readonly user: string;
  /** Without them the API server adds those that a service account always has. */
  readonly groups?: readonly string[];
}

/**
 * The engine's view of a cluster. Every failed request rejects with a `KubeError`
 * (see kube-error.ts); aborts reject with the signal's reason.
 */
export interface Cluster {
  /**
   * The same cluster with another's rights, or with our own for undefined. Connections, discovery and the bounds of
   * requests in flight are shared, so a view costs nothing and needs no closing. Refused impersonation is a 403.
   */
  as(identity: Impersonation | undefined): Cluster;
  /** The served type, in the version given or else in the preferred one. Reads the cache that `discover` fills. */
  resourceType(group: string, kind: string, version?: string): ResourceType | undefined;
  /** All served types, each in the preferred version only. */
  resourceTypes(): readonly ResourceType[];
  /** Reads what is served (two requests); kinds of a group whose server does not answer stay known. */
  discover(signal: AbortSignal): Promise<void>;
  /** Server-side apply. `body` is JSON in UTF-8. */
  apply(
    ref: ObjectRef,
    body: string,
    options: ApplyOptions,
    signal: AbortSignal,
  ): Promise<{ readonly object: LiveObject; readonly created: boolean }>;
  jsonPatch(ref: ObjectRef, patch: readonly unknown[], fieldManager: string, signal: AbortSignal): Promise<LiveObject>;
  get(ref: ObjectRef, signal: AbortSignal): Promise<LiveObject>;
  list(
    type: ResourceType,
    options: { readonly namespace?: string; readonly labelSelector?: string },
    signal: AbortSignal,
  ): Promise<readonly LiveObject[]>;
  /**
   * What is left of the object while its deletion goes on (finalizers, pods that end); undefined when it is gone already.
   * Resolves with the former, too, where it went at once but was answered with a deletionTimestamp.
   */
  delete(ref: ObjectRef, options: DeleteOptions, signal: AbortSignal): Promise<LiveObject | undefined>;
  /**
   * Lists, then follows, all objects of a type that are selected, of one namespace or of all; survives expiry, lost connections and API server
   * restarts by itself. Ends only by throwing: the signal's reason, a KubeError 404/405 when the type is gone, 403 when
   * watching it is not allowed, 400/422 for a selector the server refuses.
   */
  watch(type: ResourceType, options: WatchOptions, signal: AbortSignal): AsyncIterable<WatchEvent>;
}
