import { Backoff } from '../../lib/backoff.ts';
import { isAbort, UnavailableError, UserError } from '../../lib/errors.ts';
import { NewestWorker } from '../../lib/newest-worker.ts';
import type { AgentInfo, ProjectInfo, Registry } from '../registry/registry.ts';
import type { UnitSnapshot, UnitSource } from '../units/unit-source.ts';
import type { AgentUnit } from './agent-configuration.ts';
import type { UnitBundle } from './bundle-stream.ts';
import type { SessionReports } from './session-reports.ts';
import { sourceId } from './source-id.ts';

export interface UnitFeedsDeps {
  readonly registry: Registry;
  readonly units: UnitSource;
  readonly reports: SessionReports;
  readonly agent: AgentInfo;
  readonly token: string;
  /** A newer bundle of a unit. */
  readonly onBundle: (bundle: UnitBundle) => void;
  /** A feed ended by a fault of ours. */
  readonly onFault: (error: unknown) => void;
}

const RETRY = { initialMs: 1_000, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };

/** Follows the source of every unit of one agent. Units do not wait for each other. */
export class UnitFeeds {
  readonly #deps: UnitFeedsDeps;
  readonly #feeds = new Map<string, UnitFeed>();
  readonly #ended = new Set<Promise<void>>();
  readonly #signal: AbortSignal;
  readonly #unsubscribe: () => void;

  /** Ends when `signal` fires. */
  constructor(deps: UnitFeedsDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
    this.#unsubscribe = deps.registry.onChange(() => {
      for (const feed of this.#feeds.values()) feed.check();
    });
    if (signal.aborted) this.#close();
    else signal.addEventListener('abort', () => this.#close(), { once: true });
  }

  /**
   * Starts, stops and restarts feeds so that they are those of `units`. The names of the units that are gone or come from
   * elsewhere now: what was submitted of them is void.
   */
  configure(units: readonly AgentUnit[]): readonly string[] {
    if (this.#signal.aborted) return [];
    const wanted = new Map(units.map((unit) => [unit.name, sourceId(unit)]));
    const ended = [...this.#feeds].filter(([name, { key }]) => wanted.get(name) !== key).map(([name]) => name);
    for (const name of ended) this.#stop(name);
    for (const unit of units) {
      if (this.#feeds.has(unit.name)) continue;
      const feed = new UnitFeed(unit, this.#deps, this.#signal);
      this.#feeds.set(unit.name, feed);
      feed.start();
    }
    return ended;
  }

  /** Resolves when all feeds have ended after the signal fired. */
  async stopped(): Promise<void> {
    await Promise.all(this.#ended);
  }

  #close(): void {
    this.#unsubscribe();
    for (const name of this.#feeds.keys()) this.#stop(name);
  }

  #stop(name: string): void {
    const ended = this.#feeds.get(name)?.close();
    this.#feeds.delete(name);
    if (ended === undefined) return;
    this.#ended.add(ended);
    void ended.finally(() => this.#ended.delete(ended));
  }
}

/** One unit's source: found in the registry, followed there, and looked for again when the registry changed. */
class UnitFeed {
  readonly key: string;
  readonly #unit: AgentUnit;
  readonly #deps: UnitFeedsDeps;
  readonly #signal: AbortSignal;
  readonly #snapshots: NewestWorker<UnitSnapshot>;
  readonly #lookups: NewestWorker<undefined>;
  #project: ProjectInfo | undefined;
  #unsubscribe: (() => void) | undefined;
  #retry: { readonly backoff: Backoff; timer: NodeJS.Timeout | undefined } | undefined;
  #submitted = '';
  #closed = false;

  constructor(unit: AgentUnit, deps: UnitFeedsDeps, signal: AbortSignal) {
    this.key = sourceId(unit);
    this.#unit = unit;
    this.#deps = deps;
    this.#signal = signal;
    const failed = (error: unknown): void => {
      if (!isAbort(error, signal)) deps.onFault(error);
    };
    this.#snapshots = new NewestWorker((snapshot) => this.#take(snapshot), failed);
    this.#lookups = new NewestWorker(() => this.#lookUp(), failed);
  }

  start(): void {
    this.#lookups.push(undefined);
  }

  /** The registry may name another place for the project, or none. */
  check(): void {
    this.#lookups.push(undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#unsubscribe?.();
    clearTimeout(this.#retry?.timer);
    await Promise.all([this.#snapshots.close(), this.#lookups.close()]);
  }

  async #lookUp(): Promise<void> {
    const { registry, token } = this.#deps;
    try {
      const project = await registry.manifestProject(token, this.#unit.project, this.#signal);
      if (this.#closed) return;
      clearTimeout(this.#retry?.timer);
      this.#retry = undefined;
      if (this.#project === undefined || JSON.stringify(project) !== JSON.stringify(this.#project)) this.#follow(project);
    } catch (error) {
      if (this.#closed) return;
      // Its absence says nothing of a project that is followed already.
      if (error instanceof UnavailableError && this.#project !== undefined) return;
      if (!(error instanceof UserError) && !(error instanceof UnavailableError)) throw error;
      await this.#missing(error);
    }
  }

  async #missing(error: UserError | UnavailableError): Promise<void> {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    this.#project = undefined;
    const reason = error instanceof UserError ? error.reason : 'Unavailable';
    await this.#deps.reports.sourceMissing(this.#deps.agent, this.#unit, { severity: 'error', reason, message: error.message });
    if (this.#closed) return;
    this.#retry ??= { backoff: new Backoff(RETRY), timer: undefined };
    clearTimeout(this.#retry.timer);
    this.#retry.timer = setTimeout(() => this.#lookups.push(undefined), this.#retry.backoff.next());
  }

  #follow(project: ProjectInfo): void {
    const { ref, globs, defaultNamespace } = this.#unit;
    this.#unsubscribe?.();
    this.#project = project;
    this.#submitted = '';
    const request = { project, ref, globs, defaultNamespace };
    this.#unsubscribe = this.#deps.units.subscribe(request, {
      next: (snapshot) => this.#snapshots.push(snapshot),
      failed: (error) => this.#deps.onFault(error),
    });
  }

  async #take(snapshot: UnitSnapshot): Promise<void> {
    const { reports, agent, onBundle } = this.#deps;
    await reports.source(agent, this.#unit, snapshot);
    if (this.#closed || snapshot.rendered === undefined) return;
    const { commitId, bundle, incomplete } = snapshot.rendered;
    const identity = `${commitId}/${bundle.digest}/${incomplete}`;
    if (this.#submitted === identity) return;
    this.#submitted = identity;
    const { name: unit, project } = this.#unit;
    onBundle({ unit, project, sourceId: this.key, commitId, detectedAt: snapshot.detectedAt, bundle, incomplete });
  }
}
