import { setTimeout as delay } from 'node:timers/promises';
import { UnavailableError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { AgentRecords, StoredAgent } from './agent-records.ts';
import { type AgentUnits, NO_UNITS, type UnitsChange } from './agent-units.ts';
import type { AgentKey } from './status-store.ts';

/** More changes than this wait while Redis is away only as what they come to. */
const MOST_WAITING = 200;
const RETRY_MS = 500;

/**
 * Writes changes of one agent's units, in their order, several at once when they come faster than Redis takes them. While Redis
 * is away they wait, in bounded memory. Other replicas may write too: a change is made to what is stored then.
 */
export class AgentWriter {
  readonly #agent: AgentKey;
  readonly #records: AgentRecords;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  /** What is stored, as far as this replica knows; undefined when it has to look. */
  #stored: StoredAgent | undefined;
  /** What this replica knows for the case that Redis has lost it. */
  #known: AgentUnits = NO_UNITS;
  #waiting: UnitsChange[] = [];
  #writing: Promise<void> | undefined;

  constructor(agent: AgentKey, records: AgentRecords, log: Logger, signal: AbortSignal) {
    this.#agent = agent;
    this.#records = records;
    this.#log = log;
    this.#signal = signal;
  }

  get agent(): AgentKey {
    return this.#agent;
  }

  get isIdle(): boolean {
    return this.#writing === undefined;
  }

  /** Resolves when everything so far was written, or Redis turned out to be away. */
  async written(): Promise<void> {
    await this.#writing;
  }

  change(change: UnitsChange): void {
    this.#waiting.push(change);
    if (this.#waiting.length > MOST_WAITING) this.#fold();
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Redis may have lost everything: what this replica knows is put back. */
  restore(): void {
    this.#stored = undefined;
    this.change((units) => units);
  }

  #fold(): void {
    const folded = this.#waiting.reduce((units, change) => change(units), this.#known);
    this.#waiting = [() => folded];
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#signal.aborted) {
      const changes = this.#waiting;
      this.#waiting = [];
      try {
        await this.#writeAll(changes);
      } catch (error) {
        this.#stored = undefined;
        if (!(error instanceof UnavailableError)) {
          // What cannot be written would stand in the way of all that comes.
          this.#log.error('Status of an agent could not be stored', { agentId: this.#agent.id, err: error });
          continue;
        }
        this.#waiting = [...changes, ...this.#waiting];
        await delay(RETRY_MS, undefined, { signal: this.#signal }).catch(() => undefined);
      }
    }
  }

  async #writeAll(changes: readonly UnitsChange[]): Promise<void> {
    while (!this.#signal.aborted) {
      const before = this.#stored ?? (await this.#records.read(this.#agent.id));
      const after = changes.reduce((units: AgentUnits, change) => change(units), withLost(before, this.#known));
      this.#known = after;
      const isKnown = this.#stored !== undefined;
      if (isKnown && after === before) return;
      this.#stored = await this.#records.write(this.#agent, before, after);
      if (this.#stored !== undefined) return;
    }
  }
}

/** What Redis has lost is put back. An agent whose configuration was stored is there as a whole. */
function withLost(stored: StoredAgent, known: AgentUnits): AgentUnits {
  if (stored.configured || !known.configured) return stored;
  return { configured: true, units: new Map([...known.units, ...stored.units]) };
}
