import { createHash } from 'node:crypto';
import { UserError } from '../../lib/errors.ts';

export interface AgentLimitsOptions {
  /** Sessions that may be begun with one token in a minute, after a pause all at once. */
  readonly connectionsPerTokenPerMinute: number;
  /** Calls of one agent that may be open at the same time: sessions, tunnels, what agents of GitLab 13.8 call. */
  readonly streamsPerAgent: number;
}

const MINUTE_MS = 60_000;
/** Tokens remembered; of more in one minute the oldest are forgotten. */
const MAX_TOKENS = 200_000;
/** For streams: another one may end at any time. */
const STREAM_RETRY_MS = 10_000;

/** What one agent may take of this kas, so that the others have theirs. */
export class AgentLimits {
  readonly #options: AgentLimitsOptions;
  readonly #now: () => number;
  /** By hash of the token: when all its connections so far would have been begun at the steady rate. Oldest use first. */
  readonly #paidUntil = new Map<string, number>();
  readonly #streams = new Map<number, number>();

  constructor(options: AgentLimitsOptions, now: () => number = () => performance.now()) {
    this.#options = options;
    this.#now = now;
  }

  /** Counts a connection, whether the token is anybody's or not. UserError `exhausted` with the time to wait. */
  connect(token: string): void {
    const { connectionsPerTokenPerMinute } = this.#options;
    const now = this.#now();
    const key = createHash('sha256').update(token).digest('base64');
    const paid = Math.max(this.#paidUntil.get(key) ?? 0, now);
    const next = paid + MINUTE_MS / connectionsPerTokenPerMinute;
    // The first minute's worth may come at once. Rounded, since sums of fractions are a little more than they are.
    const waitMs = Math.round(next - now - MINUTE_MS);
    if (waitMs > 0)
      throw new UserError('new connection rate limit exhausted for this agent, try again later', {
        kind: 'exhausted',
        reason: 'TooManyConnections',
        retryAfterMs: waitMs,
      });
    this.#paidUntil.delete(key);
    this.#paidUntil.set(key, next);
    this.#forget(now);
  }

  /** Counts a call until its signal fires. UserError `exhausted` when the agent has too many. */
  open(agentId: number, signal: AbortSignal): void {
    const { streamsPerAgent } = this.#options;
    const open = this.#streams.get(agentId) ?? 0;
    if (open >= streamsPerAgent)
      throw new UserError(`the agent has ${streamsPerAgent} calls open, and may have no more`, {
        kind: 'exhausted',
        reason: 'TooManyStreams',
        retryAfterMs: STREAM_RETRY_MS,
      });
    if (signal.aborted) return;
    this.#streams.set(agentId, open + 1);
    signal.addEventListener('abort', () => this.#closed(agentId), { once: true });
  }

  #closed(agentId: number): void {
    const open = (this.#streams.get(agentId) ?? 0) - 1;
    if (open > 0) this.#streams.set(agentId, open);
    else this.#streams.delete(agentId);
  }

  #forget(now: number): void {
    for (const [key, paidUntil] of this.#paidUntil) {
      if (paidUntil > now && this.#paidUntil.size <= MAX_TOKENS) return;
      this.#paidUntil.delete(key);
    }
  }
}
