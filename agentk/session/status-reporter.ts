import { objectKey } from '../../lib/object-id.ts';
import type { ConnectRequest } from '../../proto/gen/kas/agent/v1/session.ts';
import type { ClusterEvent, Drift, ObjectResult, Reporter, SyncState } from '../gitops/unit.ts';
import { fromClusterEvent, fromDrift, objectReports, syncReports } from './messages.ts';

/** Drifts and events that wait while kas cannot be reached; the oldest go first when there are more. */
const MAX_WAITING = 1_000;

/**
 * Keeps what the engine found until kas has it. Of a unit's state only the newest counts; drifts and events are queued.
 * `messages` serves one connection: it starts with the whole state of every unit and then sends what changes.
 */
export class StatusReporter implements Reporter {
  readonly #states = new Map<string, SyncState>();
  readonly #waiting: ConnectRequest[] = [];
  readonly #dirty = new Set<string>();
  #dropped = 0;
  #wake: (() => void) | undefined;

  sync(state: SyncState): void {
    this.#states.set(state.unit, state);
    this.#dirty.add(state.unit);
    this.#wake?.();
  }

  drift(drift: Drift): void {
    this.#enqueue(fromDrift(drift));
  }

  event(event: ClusterEvent): void {
    this.#enqueue(fromClusterEvent(event));
  }

  forget(unit: string): void {
    this.#states.delete(unit);
    this.#dirty.delete(unit);
  }

  /** How many drifts and events were lost for want of a connection, since the last call. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  /** What to send over a new connection, for as long as `signal` has not fired. Only one reader at a time. */
  async *messages(signal: AbortSignal): AsyncGenerator<ConnectRequest, void, void> {
    const sent = new Map<string, SyncState>();
    for (const unit of this.#states.keys()) this.#dirty.add(unit);
    const onAbort = (): void => this.#wake?.();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        yield* this.#pending(sent);
        if (this.#dirty.size > 0 || this.#waiting.length > 0 || signal.aborted) continue;
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#wake = resolve;
        await promise;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#wake = undefined;
    }
  }

  *#pending(sent: Map<string, SyncState>): Generator<ConnectRequest, void, void> {
    for (const unit of this.#dirty) {
      this.#dirty.delete(unit);
      const state = this.#states.get(unit);
      if (state === undefined) continue;
      const before = sent.get(unit);
      sent.set(unit, state);
      if (before === undefined || !sameSync(before, state)) yield* syncReports(state);
      else yield* changes(before, state);
    }
    while (this.#waiting.length > 0) {
      // Removed only after it was taken: a connection that dies in between leaves it for the next one.
      yield this.#waiting[0] as ConnectRequest;
      this.#waiting.shift();
    }
  }

  #enqueue(message: ConnectRequest): void {
    this.#waiting.push(message);
    if (this.#waiting.length > MAX_WAITING) {
      this.#waiting.shift();
      this.#dropped += 1;
    }
    this.#wake?.();
  }
}

function sameSync(a: SyncState, b: SyncState): boolean {
  return (
    a.bundleDigest === b.bundleDigest &&
    a.commitId === b.commitId &&
    a.startedAt.getTime() === b.startedAt.getTime() &&
    a.finishedAt?.getTime() === b.finishedAt?.getTime() &&
    a.objects.length === b.objects.length
  );
}

function changes(before: SyncState, after: SyncState): Iterable<ConnectRequest> {
  // Objects of one sync keep their places, and those that did not change are the same ones. One that moved is told again.
  const changed = after.objects.filter((object, index) => !sameResult(before.objects[index], object));
  const samePhase = before.phase === after.phase && before.reason === after.reason && before.message === after.message;
  return samePhase && changed.length === 0 ? [] : objectReports(after, changed);
}

function sameResult(a: ObjectResult | undefined, b: ObjectResult): boolean {
  return (
    a === b ||
    (a !== undefined &&
      (a.id === b.id || objectKey(a.id) === objectKey(b.id)) &&
      a.action === b.action &&
      a.reason === b.reason &&
      a.message === b.message &&
      a.source === b.source &&
      a.health === b.health &&
      a.healthMessage === b.healthMessage)
  );
}
