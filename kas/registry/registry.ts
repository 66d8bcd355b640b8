/** An agent that proved who it is. */
export interface AgentInfo {
  readonly id: number;
  readonly name: string;
  /** Full path of the project that holds its configuration. */
  readonly project: string;
  /** GitLab's number of that project; a registry file has none. */
  readonly projectId?: number | undefined;
}

/** A repository and the Gitaly server that has it. */
export interface RepositoryLocation {
  readonly gitaly: {
    /** `tcp://host:port`, `tls://host:port` or `unix:///path`. */
    readonly address: string;
    /** Shared secret for Gitaly's v2 authentication; empty when it asks for none. */
    readonly token: string;
    /** Feature flags of GitLab for Gitaly, by name: "true" or "false". */
    readonly features?: Readonly<Record<string, string>>;
  };
  readonly storageName: string;
  readonly relativePath: string;
  readonly glRepository: string;
  readonly glProjectPath: string;
}

export interface ProjectInfo {
  /** Full path, "group/project". */
  readonly path: string;
  readonly location: RepositoryLocation;
}

/**
 * Who may do what. Implementations: a file (standalone) and, with GitLab, RoR's REST API.
 *
 * Errors of every method: UserError `unauthenticated` for a token nobody has, `forbidden` for an agent or project that
 * is known and barred, `not_found` for a project that does not exist or that this agent may not see (the two cannot be
 * told apart from outside); UnavailableError when the answer cannot be had now.
 */
export interface Registry {
  agentByToken(token: string, signal: AbortSignal): Promise<AgentInfo>;
  /** The project with the agent's configuration file. */
  configurationProject(token: string, signal: AbortSignal): Promise<ProjectInfo>;
  /** A manifest project by its full path, as far as the agent with this token may read it. */
  manifestProject(token: string, path: string, signal: AbortSignal): Promise<ProjectInfo>;
  /**
   * Calls `listener` whenever answers may have become others (a revoked token, a moved project), for those who act on
   * one for long. The returned function ends it.
   */
  onChange(listener: () => void): () => void;
}
