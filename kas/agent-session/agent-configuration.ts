import type { ApiAccess } from '../../lib/api-access.ts';
import type { Subscriber } from '../../lib/broadcast.ts';
import type { HttpService } from '../../lib/http-service.ts';
import type { LogLevel } from '../../lib/log.ts';
import type { ObjectCachePolicy } from '../../lib/object-cache-policy.ts';
import type { SourceProblem } from '../../lib/source-problem.ts';
import type { HealthRule, UnitPolicy } from '../../lib/unit-policy.ts';
import type { AccessPolicy } from '../agent-configuration/access-policy.ts';
import type { AgentInfo } from '../registry/registry.ts';

/** One entry of the agent's `gitops.manifest_projects`. */
export interface AgentUnit extends UnitPolicy {
  /** Unique within the agent. */
  readonly name: string;
  /** Full path of the manifest project. */
  readonly project: string;
  /** Undefined is the default branch. */
  readonly ref: string | undefined;
  readonly globs: readonly string[];
}

export interface AgentConfiguration {
  readonly commitId: string;
  readonly units: readonly AgentUnit[];
  readonly healthRules: readonly HealthRule[];
  readonly access: AccessPolicy;
  /** `ci_access` and `user_access` as the file has them, for GitLab. */
  readonly sharing?: { readonly ci_access: unknown; readonly user_access?: unknown };
  readonly httpServices: readonly HttpService[];
  readonly apiAccess: ApiAccess;
  readonly objectCache: ObjectCachePolicy;
  readonly logLevel: LogLevel;
}

export interface ConfigurationSnapshot {
  /** Newest commit of the configuration project; undefined as long as none was found. */
  readonly commitId: string | undefined;
  /** The newest good configuration. */
  readonly configuration?: AgentConfiguration | undefined;
  /** What is wrong at `commitId`. With an error among them `configuration` is older or absent. */
  readonly problems: readonly SourceProblem[];
}

/** Where an agent's configuration comes from. */
export interface ConfigurationSource {
  /**
   * Tells the present state as soon as it is known, then each change; what was not told yet is replaced by what is newer.
   * The returned function ends it. It fails with UserError `unauthenticated` or `forbidden` when the token is not accepted
   * any more.
   */
  subscribe(token: string, agent: AgentInfo, subscriber: Subscriber<ConfigurationSnapshot>): () => void;
}
