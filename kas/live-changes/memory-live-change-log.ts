import { randomBytes } from 'node:crypto';
import { abortable } from '../../lib/abort.ts';
import type { LiveChange, LiveEntry } from './live-change.ts';
import { expired, formatCursor, KEPT_CHANGES, type LiveChangeLog, parseCursor } from './live-change-log.ts';

/** Of the objects in one agent's changes. */
const KEPT_BYTES = 8 << 20;
/** Without a change or a reader for so long an agent's log goes, as in Redis. */
const KEPT_MS = 3_600_000;
/** Of the changes of all agents. */
const TOTAL_BYTES = 256 << 20;
const SWEEP_MS = 60_000;

class AgentLog {
  readonly epoch = randomBytes(8).toString('hex');
  newest = 0;
  usedAt = 0;
  readers = 0;
  #changes: LiveChange[] = [];
  #bytes = 0;
  #next = Promise.withResolvers<void>();

  get oldest(): number {
    return this.newest - this.#changes.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get changed(): Promise<void> {
    return this.#next.promise;
  }

  add(changes: readonly LiveChange[]): void {
    for (const change of changes) {
      this.#changes.push(change);
      this.#bytes += change.object.length;
      this.newest += 1;
    }
    this.trim(KEPT_BYTES);
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
  }

  /** Drops the oldest changes until the others have no more bytes than that; the newest stays. */
  trim(bytes: number): void {
    let excess = Math.max(0, this.#changes.length - KEPT_CHANGES);
    let left = this.#bytes;
    for (let at = 0; at < excess; at++) left -= this.#changes[at]?.object.length ?? 0;
    for (; left > bytes && excess < this.#changes.length - 1; excess++) left -= this.#changes[excess]?.object.length ?? 0;
    this.#changes.splice(0, excess);
    this.#bytes = left;
  }

  after(number: number): readonly LiveChange[] {
    return this.#changes.slice(number - this.oldest);
  }
}

/** For a kas that is alone. */
export class MemoryLiveChangeLog implements LiveChangeLog {
  readonly #agents = new Map<number, AgentLog>();
  readonly #totalBytes: number;
  #bytes = 0;
  readonly #now: () => number;
  #sweptAt = 0;

  /** `now` in milliseconds, of any start. */
  constructor({ totalBytes = TOTAL_BYTES, now = () => performance.now() } = {}) {
    this.#totalBytes = totalBytes;
    this.#now = now;
  }

  append(changes: readonly LiveChange[]): Promise<void> {
    const [first] = changes;
    if (first !== undefined) {
      const agent = this.#agent(first.agentId);
      this.#resize(agent, () => agent.add(changes));
      if (this.#bytes > this.#totalBytes) this.#shrink();
    }
    return Promise.resolve();
  }

  newest(agentId: number): Promise<string> {
    const { epoch, newest } = this.#agent(agentId);
    return Promise.resolve(formatCursor(epoch, newest));
  }

  async *follow(agentId: number, cursor: string, signal: AbortSignal): AsyncGenerator<LiveEntry, void, void> {
    const agent = this.#agent(agentId);
    const given = parseCursor(cursor);
    if (given.epoch !== agent.epoch || given.number > agent.newest) throw expired();
    let { number } = given;
    agent.readers += 1;
    try {
      while (true) {
        if (number < agent.oldest) throw expired();
        const changes = agent.after(number);
        if (changes.length === 0) await abortable(agent.changed, signal);
        for (const change of changes) {
          number += 1;
          yield { cursor: formatCursor(agent.epoch, number), change };
        }
      }
    } finally {
      agent.readers -= 1;
      agent.usedAt = this.#now();
    }
  }

  /** How many agents there is something of. */
  get size(): number {
    return this.#agents.size;
  }

  #agent(agentId: number): AgentLog {
    this.#sweep();
    const agent = this.#agents.get(agentId) ?? new AgentLog();
    agent.usedAt = this.#now();
    this.#agents.set(agentId, agent);
    return agent;
  }

  #sweep(): void {
    const now = this.#now();
    if (now - this.#sweptAt < SWEEP_MS) return;
    this.#sweptAt = now;
    for (const [agentId, { readers, usedAt, bytes }] of this.#agents) {
      if (readers > 0 || now - usedAt <= KEPT_MS) continue;
      this.#agents.delete(agentId);
      this.#bytes -= bytes;
    }
  }

  /** Those with the most lose their older half. */
  #shrink(): void {
    const share = this.#totalBytes / 2 / this.#agents.size;
    for (const agent of this.#agents.values())
      if (agent.bytes > share) this.#resize(agent, () => agent.trim(Math.max(share, agent.bytes / 2)));
  }

  #resize(agent: AgentLog, change: () => void): void {
    const before = agent.bytes;
    change();
    this.#bytes += agent.bytes - before;
  }
}
