import { sleep } from '../../../lib/abort.ts';
import { isAbort, toError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import { KubeError } from '../../kube/kube-error.ts';
import type { UnitObjects } from '../plan/unit-objects.ts';
import type { StateStore } from './state-store.ts';

/** Changes within this time are written together. */
const COALESCE_MS = 2_000;
/** At most 2 % of the time goes into writing. */
const REST = 50;
const LONGEST_MS = 60_000;

/** Lets what a unit knows of its objects outlive the agent: read once at the first sync, written a while after each change. */
export class UnitMemory {
  readonly #store: StateStore;
  readonly #objects: UnitObjects;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  #loaded = false;
  #dirty = false;
  /** How long the last writing took. */
  #lastMs = 0;
  #timer = new AbortController();
  #saving: Promise<void> = Promise.resolve();

  /** @param signal Fires when nothing may be written any more. */
  constructor(store: StateStore, objects: UnitObjects, log: Logger, signal: AbortSignal) {
    this.#store = store;
    this.#objects = objects;
    this.#log = log;
    this.#signal = signal;
  }

  /** Hands what was written before the agent's start to the unit's objects; once. Rejects when the API server refuses. */
  async recall(signal: AbortSignal): Promise<void> {
    if (this.#loaded) return;
    const remembered = await this.#store.load(signal).catch((error: unknown) => {
      // Whoever may not read it works without: every object is compared with Git instead.
      if (error instanceof KubeError && error.code === 403) return new Map();
      throw error;
    });
    this.#loaded = true;
    this.#objects.remember(remembered);
  }

  /** The cluster was set back: all is written again. */
  distrust(): void {
    this.#store.distrust();
  }

  /** Something that is to be remembered may have changed. */
  touch(): void {
    if (this.#dirty || !this.#loaded || this.#signal.aborted) return;
    this.#dirty = true;
    this.#timer = new AbortController();
    void sleep(
      Math.min(Math.max(COALESCE_MS, REST * this.#lastMs), LONGEST_MS),
      AbortSignal.any([this.#timer.signal, this.#signal]),
    ).then(
      async () => await this.#save(),
      () => undefined,
    );
  }

  /** Writes what is due now, and resolves when nothing is on its way. Never rejects. */
  async flush(): Promise<void> {
    this.#timer.abort();
    await this.#save();
  }

  async #save(): Promise<void> {
    if (this.#dirty) {
      this.#dirty = false;
      const before = this.#saving;
      this.#saving = before.then(async () => await this.#write());
    }
    await this.#saving;
  }

  async #write(): Promise<void> {
    const startedAt = performance.now();
    try {
      await this.#store.save(this.#objects.remembered(), this.#signal);
      this.#lastMs = performance.now() - startedAt;
    } catch (error) {
      if (isAbort(error, this.#signal)) return;
      // Costs comparisons after a restart, nothing else.
      this.#log.warn('What is known of objects cannot be written down', { err: toError(error) });
    }
  }
}
