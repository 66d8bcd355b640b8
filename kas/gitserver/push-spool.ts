import { randomUUID } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AbortScope, sleep } from '../../lib/abort.ts';
import { isAbort } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { announcementName, PUSHED, spoolFolder } from './push-hook.ts';
import type { Push } from './push-notifier.ts';
import type { Storage } from './storages.ts';

/** Ending of an announcement that was taken and whose push kas was not told of yet. */
const TAKEN = '.taken';

/** Watching tells of files at once; this finds what it missed. */
const SWEEP_PERIOD_MS = 10_000;

export interface PushSpoolDeps {
  readonly storages: readonly Storage[];
  /** Called for each announced push; the announcement is kept until this resolves, and read again after a restart. */
  readonly onPush: (push: Push) => Promise<void>;
  readonly log: Logger;
}

/** Reads the announcements that post-receive hooks leave in the storages. */
export class PushSpool {
  readonly #deps: PushSpoolDeps;
  readonly #scope: AbortScope;
  readonly #watchers: FSWatcher[] = [];
  readonly #working = new Set<Promise<void>>();

  constructor(deps: PushSpoolDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#scope = new AbortScope(signal);
  }

  /** Takes what lies there already and begins to watch. */
  async start(): Promise<void> {
    for (const storage of this.#deps.storages) {
      const folder = spoolFolder(storage);
      await mkdir(folder, { recursive: true });
      const watcher = watch(folder, { persistent: false }, (_, name) => {
        if (name === null || name.endsWith(PUSHED))
          this.#track(name === null ? this.#scan(storage, [PUSHED]) : this.#take(storage, name));
      });
      watcher.on('error', (error) =>
        this.#deps.log.warn('Cannot watch for pushes; looking now and then', { file: folder, err: error }),
      );
      this.#watchers.push(watcher);
      await this.#scan(storage, [PUSHED, TAKEN]);
    }
    this.#track(this.#sweep(this.#scope.signal));
  }

  /** Stops watching. Waits for the work at hand, which the owner of `onPush` has to end. */
  async close(): Promise<void> {
    this.#scope[Symbol.dispose]();
    for (const watcher of this.#watchers) watcher.close();
    await Promise.all(this.#working);
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(SWEEP_PERIOD_MS, signal);
      for (const storage of this.#deps.storages) await this.#scan(storage, [PUSHED]);
    }
  }

  async #scan(storage: Storage, endings: readonly string[]): Promise<void> {
    for (const name of await readdir(spoolFolder(storage)))
      if (endings.some((ending) => name.endsWith(ending))) this.#track(this.#take(storage, name));
  }

  /**
   * Renames the announcement, to a name of its own so that nobody else removes it, and removes it after kas was told. A push
   * that comes in between makes another one.
   */
  async #take(storage: Storage, name: string): Promise<void> {
    const folder = spoolFolder(storage);
    const taken = join(folder, name.endsWith(TAKEN) ? name : `${name.slice(0, -PUSHED.length)}.${randomUUID()}${TAKEN}`);
    try {
      if (name.endsWith(PUSHED)) await rename(join(folder, name), taken);
      const relativePath = await readFile(taken, 'utf8');
      if (!name.startsWith(announcementName(relativePath).slice(0, -PUSHED.length))) {
        this.#deps.log.warn('Ignoring a malformed announcement of a push', { file: taken });
      } else {
        await this.#deps.onPush({ storageName: storage.name, relativePath });
        // Not told yet: it is for the next start.
        if (this.#scope.signal.aborted) return;
      }
      await rm(taken, { force: true });
    } catch (error) {
      // Taken already by the other of watching and sweeping.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }

  #track(work: Promise<void>): void {
    const settled = work
      .catch((error: unknown) => {
        if (!isAbort(error, this.#scope.signal)) this.#deps.log.error('Cannot read the announcements of pushes', { err: error });
      })
      .finally(() => this.#working.delete(settled));
    this.#working.add(settled);
  }
}
