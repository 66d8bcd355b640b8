/** What the bench and its simulators say to each other. */

export interface Credential {
  readonly name: string;
  readonly token: string;
}

/** How agents reach kas. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** PEM of the authority to trust; plain text without. */
  readonly ca: string | undefined;
}

export type Command =
  /** Agents that connect from now on, and again whenever they lost kas. */
  | { readonly type: 'start'; readonly agents: readonly Credential[]; readonly localAddress: string; readonly perSecond: number }
  /** Where kas is from now on; sessions that are open stay. */
  | { readonly type: 'endpoint'; readonly endpoint: Endpoint }
  /** Answer once `agents` agents have what is asked for, or when the time is over. */
  | { readonly type: 'expect'; readonly id: number; readonly goal: Goal; readonly timeoutMs: number };

export type Goal =
  /** A session opened after the moment (milliseconds since the epoch), its configuration and all its bundles. */
  | { readonly type: 'settled'; readonly since: number }
  /** The bundle of a commit, proved by its digest: of any unit for all agents, or of one unit for the agent that has it. */
  | { readonly type: 'bundle'; readonly commitId: string; readonly unit?: string };

export type Answer = {
  readonly id: number;
  /** When each agent that reached the goal did, in milliseconds since the epoch. */
  readonly reachedAt: readonly number[];
  /** Names of those that did not. */
  readonly missing: readonly string[];
  /** What went wrong for agents since the last answer: text and how often. */
  readonly failures: Readonly<Record<string, number>>;
  /** Objects whose content was sent to all agents together since the last answer. */
  readonly contents: number;
  /** Bytes of messages received since the last answer. */
  readonly bytes: number;
};
