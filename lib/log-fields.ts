/** Every key that a log line can carry, once. Values are what the reader needs, never tokens, Secret data or manifests. */
export interface LogFields {
  readonly agent?: string;
  readonly agentId?: number;
  readonly connectionId?: string;
  readonly project?: string;
  readonly repository?: string;
  /** Name of a source of webhooks. */
  readonly webhook?: string;
  readonly ref?: string;
  readonly commit?: string;
  readonly unit?: string;
  /** `Kind.group namespace/name` */
  readonly object?: string;
  readonly kind?: string;
  readonly namespace?: string;
  /** Paths of drifted fields. */
  readonly fields?: readonly string[];
  /** Field manager that made a change. */
  readonly manager?: string;
  /** When that manager made it, RFC 3339. */
  readonly changedAt?: string;
  readonly outcome?: string;
  /** `namespace/name` of the Lease that replicas compete for. */
  readonly lease?: string;
  /** Who holds it. */
  readonly holder?: string;
  readonly phase?: string;
  readonly reason?: string;
  readonly file?: string;
  readonly line?: number;
  readonly address?: string;
  readonly agentAddress?: string;
  readonly apiAddress?: string;
  readonly observabilityAddress?: string;
  readonly url?: string;
  readonly peer?: string;
  readonly method?: string;
  /** Of a URL, without its query. */
  readonly path?: string;
  /** What a connection goes on with after its request, such as `websocket`. */
  readonly protocol?: string;
  /** Who asks: `user:ann`, `job:17`. */
  readonly user?: string;
  /** Whose rights a request has in the cluster. */
  readonly as?: string;
  readonly status?: string | number;
  readonly durationMs?: number;
  readonly delayMs?: number;
  readonly count?: number;
  readonly objects?: number;
  readonly created?: number;
  readonly configured?: number;
  readonly unchanged?: number;
  readonly pruned?: number;
  readonly failed?: number;
  readonly bytes?: number;
  readonly digest?: string;
  readonly version?: string;
  readonly signal?: string;
  readonly detail?: string;
  readonly err?: unknown;
}
