import type { Impersonation } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { Credential } from './credential.ts';

/** What a credential allows. */
export interface Grant {
  /** For the audit log: `user:ann`, `job:17`. */
  readonly subject: string;
  /** Whose rights requests have in the cluster; undefined: those of the agent, or of whom the caller asks to be. */
  readonly impersonation: Impersonation | undefined;
}

export interface ProxyAccess {
  /**
   * Rejects with UserError `unauthenticated` for a credential that nobody has, that expired or was revoked, `forbidden`
   * for one that is not for this agent, and UnavailableError when the answer cannot be had now.
   */
  authorize(credential: Credential, signal: AbortSignal): Promise<Grant>;
  /** Calls the listener when answers may have changed, as far as that is known; the returned function ends it. */
  onChange(listener: () => void): () => void;
}
