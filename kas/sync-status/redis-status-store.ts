import { abortable } from '../../lib/abort.ts';
import type { Logger } from '../../lib/log.ts';
import type { RedisMessages } from '../redis/redis-messages.ts';
import type { ReplicaEntries } from '../replicas/replica-entries.ts';
import type { Replicas } from '../replicas/replicas.ts';
import type { AgentRecords } from './agent-records.ts';
import type { UnitsChange } from './agent-units.ts';
import { AgentWriter } from './agent-writer.ts';
import type { AgentKey, StatusChange, StatusStore, UnitSelector } from './status-store.ts';
import { matchesAgent, StatusWatcher, type UnitKey } from './status-watcher.ts';
import { StatusWrites } from './status-writes.ts';
import { statusOf, type UnitRecord } from './unit-record.ts';
import type { UnitStatus } from './unit-status.ts';

export interface RedisStatusStoreDeps {
  readonly records: AgentRecords;
  /** Sessions of agents with all replicas, by agent id. */
  readonly sessions: ReplicaEntries;
  readonly messages: RedisMessages;
  readonly replicas: Replicas;
  readonly log: Logger;
  readonly now?: () => Date;
}

interface Read {
  readonly status: UnitStatus;
  /** Changes whenever the status may have. */
  readonly version: string;
}

const AGENTS_AT_ONCE = 50;

/**
 * The status that all replicas share, in Redis; it outlives them. Writing never waits for Redis and never fails: what could not
 * be written is written when Redis is back, by the replica that has the agent's session. Reading and watching: UnavailableError while
 * Redis is away.
 */
export class RedisStatusStore extends StatusWrites implements StatusStore {
  readonly #deps: RedisStatusStoreDeps;
  readonly #writers = new Map<number, AgentWriter>();
  readonly #watchers = new Set<StatusWatcher>();
  readonly #stop = new AbortController();
  readonly #unsubscribe: (() => void)[];

  constructor(deps: RedisStatusStoreDeps) {
    super(deps.now);
    this.#deps = deps;
    this.#unsubscribe = [
      deps.replicas.onEvent((event) => {
        if (event === 'joined') for (const writer of this.#writers.values()) writer.restore();
        // Agents of a replica that died are not connected any more, and nobody says so for them.
        void this.#allChanged();
      }),
      deps.messages.onReconnect(() => void this.#allChanged()),
    ];
  }

  async connected(agent: AgentKey, connectionId: bigint): Promise<void> {
    await this.#deps.sessions.put(String(agent.id), String(connectionId), agent.name);
    this.change(agent, (units) => units);
    await this.#tell(agent);
  }

  async disconnected(agent: AgentKey, connectionId: bigint): Promise<void> {
    await this.#deps.sessions.remove(String(agent.id), String(connectionId));
    await this.#tell(agent);
  }

  async knows(agent: { readonly id?: number; readonly name?: string }, signal: AbortSignal): Promise<boolean> {
    await this.#written(signal);
    const agents = await this.#deps.records.agents();
    return agent.id !== undefined ? agents.has(agent.id) : [...agents.values()].includes(agent.name ?? '');
  }

  async get(selector: UnitSelector, signal: AbortSignal): Promise<readonly UnitStatus[]> {
    return (await this.#read(selector, signal)).map(({ status }) => status);
  }

  async *watch(selector: UnitSelector, signal: AbortSignal): AsyncGenerator<StatusChange, void, void> {
    const { messages, records } = this.#deps;
    const watcher = new StatusWatcher(selector);
    this.#watchers.add(watcher);
    const unlisten = await messages.listen(records.channel, (message) => void this.#heard(watcher, message, signal));
    const told = new Map<string, string>();
    try {
      for (const { status, version } of await this.#read(selector, signal)) {
        told.set(`${status.agentId}/${status.unit}`, version);
        yield { type: 'unit', status };
      }
      yield { type: 'ready' };
      while (true) {
        signal.throwIfAborted();
        const key = watcher.take();
        if (key === undefined) await abortable(watcher.wait(), signal);
        else {
          const change = await this.#changeOf(key, told, signal);
          if (change !== undefined) yield change;
        }
      }
    } finally {
      unlisten();
      this.#watchers.delete(watcher);
    }
  }

  /** What waits to be written has a moment for it. */
  async close(): Promise<void> {
    const writers = [...this.#writers.values()].map(async (writer) => await writer.written());
    const patience = AbortSignal.timeout(CLOSE_MS);
    await abortable(Promise.all(writers), patience).catch(() => undefined);
    this.#stop.abort(new DOMException('The status store is closed', 'AbortError'));
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }

  protected change(agent: AgentKey, change: UnitsChange): void {
    const { records, log, sessions } = this.#deps;
    let writer = this.#writers.get(agent.id);
    if (writer === undefined) {
      writer = new AgentWriter(agent, records, log, this.#stop.signal);
      this.#writers.set(agent.id, writer);
    }
    writer.change(change);
    const written = writer;
    void writer.written().then(() => {
      // What agents of other replicas do is theirs to remember.
      const isOurs = sessions.has(String(agent.id));
      if (!isOurs && written.isIdle && this.#writers.get(agent.id) === written) this.#writers.delete(agent.id);
    });
  }

  /** An agent's session began or ended. */
  async #tell(agent: AgentKey): Promise<void> {
    const { messages, records, log } = this.#deps;
    await messages
      .send(records.channel, JSON.stringify([agent.id, agent.name, null]))
      .catch((err: unknown) => log.debug('Change of a session could not be told', { err }));
  }

  async #heard(watcher: StatusWatcher, message: string, signal: AbortSignal): Promise<void> {
    const [id, name, unit] = JSON.parse(message) as [number, string, string | null];
    const agent = { id, name };
    if (unit !== null) watcher.changed(agent, unit);
    else await this.#agentChanged(watcher, agent, signal);
  }

  async #agentChanged(watcher: StatusWatcher, agent: AgentKey, signal: AbortSignal): Promise<void> {
    const { records, log } = this.#deps;
    try {
      const units = await records.unitNames(agent.id);
      if (!signal.aborted) for (const unit of units) watcher.changed(agent, unit);
    } catch (err) {
      log.debug('Status of an agent could not be read', { err });
    }
  }

  /** Any unit may be another now, as far as this replica has heard. */
  async #allChanged(): Promise<void> {
    const { records, log } = this.#deps;
    if (this.#watchers.size === 0) return;
    try {
      const agents = await records.agents();
      for (const [id, name] of agents)
        for (const watcher of this.#watchers) await this.#agentChanged(watcher, { id, name }, this.#stop.signal);
    } catch (err) {
      log.debug('Status of the agents could not be read', { err });
    }
  }

  /** Everything that this replica said is in Redis, unless Redis is away. */
  async #written(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#deps.replicas.isConnected) return;
    await abortable(Promise.all([...this.#writers.values()].map(async (writer) => await writer.written())), signal);
  }

  async #changeOf({ agentId, unit }: UnitKey, told: Map<string, string>, signal: AbortSignal): Promise<StatusChange | undefined> {
    const { records } = this.#deps;
    await this.#writers.get(agentId)?.written();
    const place = `${agentId}/${unit}`;
    const [stored, connected] = await Promise.all([records.readUnit(agentId, unit), this.#connected([agentId])]);
    signal.throwIfAborted();
    if (stored === undefined) return told.delete(place) ? { type: 'removed', agentId, unit } : undefined;
    const { status, version } = read(stored.agent, stored.record, stored.version, connected.has(agentId));
    if (told.get(place) === version) return undefined;
    told.set(place, version);
    return { type: 'unit', status };
  }

  async #read(selector: UnitSelector, signal: AbortSignal): Promise<readonly Read[]> {
    const { records } = this.#deps;
    await this.#written(signal);
    const agents = [...(await records.agents())]
      .map(([id, name]) => ({ id, name }))
      .filter((agent) => matchesAgent(selector, agent))
      .sort((a, b) => a.id - b.id);
    const connected = await this.#connected(agents.map(({ id }) => id));
    const found: Read[] = [];
    for (let start = 0; start < agents.length; start += AGENTS_AT_ONCE) {
      signal.throwIfAborted();
      const some = agents.slice(start, start + AGENTS_AT_ONCE);
      const stored = await Promise.all(some.map(async ({ id }) => await records.read(id)));
      some.forEach((agent, index) => {
        const { units = new Map<string, UnitRecord>(), versions } = stored[index] ?? {};
        for (const name of [...units.keys()].toSorted()) {
          const record = units.get(name);
          if (record !== undefined && (selector.unit === undefined || selector.unit === name))
            found.push(read(agent, record, versions?.get(name) ?? '', connected.has(agent.id)));
        }
      });
    }
    return found;
  }

  async #connected(agentIds: readonly number[]): Promise<ReadonlySet<number>> {
    const sessions = await this.#deps.sessions.read(agentIds.map(String));
    return new Set(agentIds.filter((_, index) => (sessions[index]?.length ?? 0) > 0));
  }
}

const CLOSE_MS = 1_000;

function read(agent: AgentKey, record: UnitRecord, version: string, connected: boolean): Read {
  return { status: statusOf(record, agent, connected), version: `${version} ${connected}` };
}
