/** Kinds of callers from outside the cluster. */
export type CallerKind = 'user' | 'job' | 'api';

/** An HTTP server near agentk that callers may reach through kas: read from Git by kas, enforced by agentk. */
export interface HttpService {
  readonly name: string;
  /** `http:` or `https:`; its path precedes that of requests. */
  readonly url: string;
  readonly methods: readonly string[];
  /** Callers of kas' API always may. */
  readonly callers: readonly CallerKind[];
}
