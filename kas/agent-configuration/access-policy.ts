import type { StaticIdentity } from '../../lib/api-access.ts';

/** Who may reach the cluster of an agent through kas, and as whom, as the agent's configuration says. */
export interface AccessPolicy {
  /** CI jobs. The agent's own project may in any case. */
  readonly jobs: readonly JobAccess[];
  /** People; undefined: nobody. */
  readonly users: UserAccess | undefined;
}

export interface JobAccess {
  /** Of a project, or of all projects in a group. */
  readonly scope: 'project' | 'group';
  /** Full path. */
  readonly path: string;
  /** Patterns with `*`; empty: all, and jobs without an environment. */
  readonly environments: readonly string[];
  /** Only jobs on branches and tags that are protected. */
  readonly protectedOnly: boolean;
  readonly accessAs: JobIdentity;
}

/** Whose rights requests have in the cluster. */
export type JobIdentity =
  | { readonly type: 'agent' }
  | { readonly type: 'ci_job' }
  | { readonly type: 'ci_user' }
  | { readonly type: 'impersonate'; readonly identity: StaticIdentity };

export interface UserAccess {
  /** Full paths: developers and above of one of them may. */
  readonly projects: readonly string[];
  readonly groups: readonly string[];
  readonly accessAs: 'agent' | 'user';
}

export const NO_ACCESS: AccessPolicy = { jobs: [], users: undefined };
