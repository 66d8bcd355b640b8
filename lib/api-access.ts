/** Who requests in a cluster are made as, https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/ */
export interface StaticIdentity {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: readonly { readonly key: string; readonly values: readonly string[] }[];
}

/** As a message takes it, which may be written to. */
export function copyIdentity({ username, uid, groups, extra }: StaticIdentity): {
  readonly username: string;
  readonly uid: string;
  readonly groups: string[];
  readonly extra: { readonly key: string; readonly values: string[] }[];
} {
  return { username, uid, groups: [...groups], extra: extra.map(({ key, values }) => ({ key, values: [...values] })) };
}

/** As whom callers of kas' API make requests to the Kubernetes API: read from Git by kas, enforced by agentk. */
export type ApiAccess =
  /** They make none. */
  | { readonly type: 'none' }
  /** The agent, or whom the caller names. */
  | { readonly type: 'agent' }
  /** Whom the caller names. */
  | { readonly type: 'caller' }
  | { readonly type: 'impersonate'; readonly identity: StaticIdentity };

export const NO_API_ACCESS: ApiAccess = { type: 'none' };
