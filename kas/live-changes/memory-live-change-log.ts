import { randomBytes } from 'node:crypto';
import { abortable } from '../../lib/abort.ts';
import type { LiveChange, LiveEntry } from './live-change.ts';
import { expired, formatCursor, KEPT_CHANGES, type LiveChangeLog, parseCursor } from './live-change-log.ts';

/** Of the objects in one agent's changes. */
const KEPT_BYTES = 8 << 20;

class AgentLog {
  readonly epoch = randomBytes(8).toString('hex');
  newest = 0;
  #changes: LiveChange[] = [];
  #bytes = 0;
  #next = Promise.withResolvers<void>();

  get oldest(): number {
    return this.newest - this.#changes.length;
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
    let excess = Math.max(0, this.#changes.length - KEPT_CHANGES);
    for (let bytes = this.#bytes; bytes > KEPT_BYTES && excess < this.#changes.length - 1; excess++)
      bytes -= this.#changes[excess]?.object.length ?? 0;
    for (const dropped of this.#changes.splice(0, excess)) this.#bytes -= dropped.object.length;
    this.#next.resolve();
    this.#next = Promise.withResolvers<void>();
  }

  after(number: number): readonly LiveChange[] {
    return this.#changes.slice(number - this.oldest);
  }
}

/** For a kas that is alone. */
export class MemoryLiveChangeLog implements LiveChangeLog {
  readonly #agents = new Map<number, AgentLog>();

  append(changes: readonly LiveChange[]): Promise<void> {
    const [first] = changes;
    if (first !== undefined) this.#agent(first.agentId).add(changes);
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
    while (true) {
      if (number < agent.oldest) throw expired();
      const changes = agent.after(number);
      if (changes.length === 0) await abortable(agent.changed, signal);
      for (const change of changes) {
        number += 1;
        yield { cursor: formatCursor(agent.epoch, number), change };
      }
    }
  }

  #agent(agentId: number): AgentLog {
    const known = this.#agents.get(agentId);
    if (known !== undefined) return known;
    const agent = new AgentLog();
    this.#agents.set(agentId, agent);
    return agent;
  }
}
