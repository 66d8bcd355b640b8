/** https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/, as far as it is read here. */
export interface Lease {
  readonly metadata: {
    readonly name?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: LeaseSpec;
}

export interface LeaseSpec {
  /** Empty or absent: nobody holds it. */
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  /** RFC 3339 with microseconds, by the holder's clock: for people, never to be reckoned with. */
  readonly acquireTime?: string;
  readonly renewTime?: string;
  /** How often it has changed hands. */
  readonly leaseTransitions?: number;
}

/** One Lease. Requests reject with a `KubeError`. */
export interface LeaseStore {
  /** `namespace/name` */
  readonly name: string;
  /** Undefined when there is none. */
  get(signal: AbortSignal): Promise<Lease | undefined>;
  /** Undefined when somebody else has made it. */
  create(lease: Lease, signal: AbortSignal): Promise<Lease | undefined>;
  /** Undefined when it is not the one of this resourceVersion any more, or gone. */
  replace(lease: Lease, signal: AbortSignal): Promise<Lease | undefined>;
  /** The lease as it is and after each change; undefined when there is none. Ends by throwing only. */
  changes(signal: AbortSignal): AsyncIterable<Lease | undefined>;
}

export function holderOf(lease: Lease | undefined): string {
  return lease?.spec.holderIdentity ?? '';
}

export function microTime(date: Date): string {
  return date.toISOString().replace('Z', '000Z');
}
