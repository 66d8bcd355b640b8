import { sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Logger } from '../../lib/log.ts';
import { type PollCallbacks, type PolledRepository, type PollQueue, repositoryKey, slotOf } from './poll-queue.ts';
import { PollTurns } from './poll-turns.ts';

export interface InProcessPollQueueDeps extends PollCallbacks {
  /** Polls of one Gitaly server that run at the same time, at the most. */
  readonly concurrency: number;
  readonly log: Logger;
}

interface Entry {
  readonly key: string;
  /** The newest one that was registered. */
  repository: PolledRepository;
  readonly controller: AbortController;
  readonly backoff: Backoff;
  periodMs: number;
  /** `again`: running, and one more poll was asked for. */
  state: 'idle' | 'queued' | 'running' | 'again';
  /** Whether the queued poll comes before those of the clock. */
  urgent: boolean;
  timer: AbortController;
  failing: boolean;
}

const RETRY = { initialMs: 1_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };
const LONGEST_RETRY_MS = 60_000;

/** Poll queue of one process: nothing is shared with other replicas and nothing outlives it. */
export class InProcessPollQueue implements PollQueue {
  readonly #deps: InProcessPollQueueDeps;
  readonly #entries = new Map<string, Entry>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #turns: PollTurns;
  /** Polls that wait or run. */
  readonly #polls = new Set<Promise<void>>();
  #closed = false;

  constructor(deps: InProcessPollQueueDeps) {
    this.#deps = deps;
    this.#turns = new PollTurns(deps.concurrency);
  }

  async register(repository: PolledRepository, periodMs: number): Promise<void> {
    if (this.#closed) return;
    const key = repositoryKey(repository);
    const known = this.#entries.get(key);
    if (known !== undefined) {
      known.repository = repository;
      if (known.periodMs === periodMs) return;
      known.periodMs = periodMs;
      if (!known.failing) this.#schedule(known, untilSlot(key, periodMs));
      return;
    }
    const entry: Entry = {
      key,
      repository,
      controller: new AbortController(),
      backoff: new Backoff({ ...RETRY, maxMs: Math.max(periodMs, LONGEST_RETRY_MS) }),
      periodMs,
      state: 'idle',
      urgent: false,
      timer: new AbortController(),
      failing: false,
    };
    this.#entries.set(key, entry);
    this.#enqueue(entry, false);
    this.#schedule(entry, untilSlot(key, periodMs));
  }

  async unregister(key: string): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    entry.timer.abort();
    entry.controller.abort(new DOMException('Nobody waits for this poll any more', 'AbortError'));
  }

  async notify(key: string): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    if (entry.state === 'running') entry.state = 'again';
    else this.#enqueue(entry, true);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const key of this.#entries.keys()) await this.unregister(key);
    await Promise.all(this.#polls);
  }

  /** Polls after `delayMs`, then period by period. Replaces what was scheduled. */
  #schedule(entry: Entry, delayMs: number): void {
    entry.timer.abort();
    entry.timer = new AbortController();
    sleep(delayMs, entry.timer.signal).then(
      () => {
        // A poll that is waiting or running is as good as this one.
        this.#enqueue(entry, false);
        this.#schedule(entry, untilSlot(entry.key, entry.periodMs));
      },
      () => undefined,
    );
  }

  #enqueue(entry: Entry, urgent: boolean): void {
    if (entry.state !== 'idle' && !(entry.state === 'queued' && urgent && !entry.urgent)) return;
    // What waits and is not urgent finds the poll done when its turn comes.
    entry.state = 'queued';
    entry.urgent = urgent;
    const poll = this.#turns
      .run(entry.repository, () => this.#start(entry), entry.controller.signal, urgent)
      // Given up while it waited.
      .catch(() => undefined)
      .finally(() => this.#polls.delete(poll));
    this.#polls.add(poll);
  }

  async #start(entry: Entry): Promise<void> {
    // The key may have been unregistered and registered again: its old poll has to end first.
    await this.#running.get(entry.key);
    if (entry.state !== 'queued' || entry.controller.signal.aborted) return;
    entry.state = 'running';
    const poll = this.#poll(entry).finally(() => {
      if (this.#running.get(entry.key) === poll) this.#running.delete(entry.key);
    });
    this.#running.set(entry.key, poll);
    await poll;
    const again = (entry.state as Entry['state']) === 'again';
    entry.state = 'idle';
    if (again && !entry.controller.signal.aborted) this.#enqueue(entry, true);
  }

  /** Never rejects. */
  async #poll(entry: Entry): Promise<void> {
    const { signal } = entry.controller;
    try {
      const result = await this.#deps.handler(entry.repository, signal);
      if (signal.aborted) return;
      this.#deps.onResult(entry.key, result);
      if (result.kind === 'problem' && result.isTransient) this.#failed(entry, result.problem.message);
      else this.#succeeded(entry);
    } catch (error) {
      if (!signal.aborted) this.#failed(entry, error);
    }
  }

  #succeeded(entry: Entry): void {
    if (!entry.failing || entry.controller.signal.aborted) return;
    entry.failing = false;
    entry.backoff.reset();
    this.#deps.log.info('Polling works again', { repository: entry.key });
    this.#schedule(entry, untilSlot(entry.key, entry.periodMs));
  }

  #failed(entry: Entry, reason: unknown): void {
    const delayMs = Math.round(entry.backoff.next());
    const level = entry.failing ? 'debug' : 'warn';
    entry.failing = true;
    this.#deps.log[level]('Poll failed', {
      repository: entry.key,
      delayMs,
      ...(typeof reason === 'string' ? { reason } : { err: reason }),
    });
    this.#schedule(entry, delayMs);
  }
}

/** Milliseconds until the key's own moment of the period, so that keys registered together are not polled together. */
function untilSlot(key: string, periodMs: number): number {
  const offset = slotOf(key) * periodMs;
  const wait = (offset - (Date.now() % periodMs) + periodMs) % periodMs;
  // A timer may fire a little early: the next slot is then the one after this.
  return wait < periodMs / 20 ? wait + periodMs : wait;
}
