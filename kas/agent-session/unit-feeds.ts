import { AbortScope, sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { isAbort, UnavailableError, UserError } from '../../lib/errors.ts';
import type { AgentInfo, ProjectInfo, Registry } from '../registry/registry.ts';
import type { UnitSource } from '../units/unit-source.ts';
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

interface Feed {
  readonly key: string;
  readonly scope: AbortScope;
  readonly done: Promise<void>;
}

const RETRY = { initialMs: 1_000, maxMs: 30_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };

/** Follows the source of every unit of one agent. Units do not wait for each other. */
export class UnitFeeds {
  readonly #deps: UnitFeedsDeps;
  readonly #feeds = new Map<string, Feed>();
  readonly #signal: AbortSignal;

  constructor(deps: UnitFeedsDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
  }

  /**
   * Starts, stops and restarts feeds so that they are those of `units`. The names of the units that are gone or come from
   * elsewhere now: what was submitted of them is void.
   */
  configure(units: readonly AgentUnit[]): readonly string[] {
    const wanted = new Map(units.map((unit) => [unit.name, sourceId(unit)]));
    const ended = [...this.#feeds].filter(([name, { key }]) => wanted.get(name) !== key).map(([name]) => name);
    for (const name of ended) this.#stop(name);
    for (const unit of units) if (!this.#feeds.has(unit.name)) this.#start(unit);
    return ended;
  }

  /** Resolves when all feeds have ended after the signal fired. */
  async stopped(): Promise<void> {
    await Promise.all([...this.#feeds.values()].map((feed) => feed.done));
  }

  #start(unit: AgentUnit): void {
    const scope = new AbortScope(this.#signal);
    const done = this.#run(unit, scope.signal).catch((error: unknown) => {
      if (!isAbort(error, scope.signal)) this.#deps.onFault(error);
    });
    this.#feeds.set(unit.name, { key: sourceId(unit), scope, done });
  }

  #stop(name: string): void {
    this.#feeds.get(name)?.scope[Symbol.dispose]();
    this.#feeds.delete(name);
  }

  async #run(unit: AgentUnit, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(RETRY);
    while (true) {
      try {
        await this.#followWhileThere(unit, await this.#project(unit, signal), signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof UserError) && !(error instanceof UnavailableError)) throw error;
        const reason = error instanceof UserError ? error.reason : 'Unavailable';
        await this.#deps.reports.sourceMissing(this.#deps.agent, unit, { severity: 'error', reason, message: error.message });
        await sleep(backoff.next(), signal);
      }
      signal.throwIfAborted();
    }
  }

  async #project(unit: AgentUnit, signal: AbortSignal): Promise<ProjectInfo> {
    return await this.#deps.registry.manifestProject(this.#deps.token, unit.project, signal);
  }

  /** Follows until the registry names another place for the project, or none. */
  async #followWhileThere(unit: AgentUnit, project: ProjectInfo, signal: AbortSignal): Promise<void> {
    const round = new AbortScope(signal);
    const check = async (): Promise<void> => {
      try {
        if (JSON.stringify(await this.#project(unit, round.signal)) === JSON.stringify(project)) return;
      } catch (error) {
        if (error instanceof UnavailableError) return;
      }
      // Asking again tells what became of it.
      round[Symbol.dispose]();
    };
    const unsubscribe = this.#deps.registry.onChange(() => void check());
    try {
      await this.#follow(unit, project, round.signal);
    } catch (error) {
      if (!isAbort(error, round.signal) || signal.aborted) throw error;
    } finally {
      unsubscribe();
      round[Symbol.dispose]();
    }
  }

  async #follow(unit: AgentUnit, project: ProjectInfo, signal: AbortSignal): Promise<void> {
    const { units, reports, agent, onBundle } = this.#deps;
    const request = { project, ref: unit.ref, globs: unit.globs, defaultNamespace: unit.defaultNamespace };
    let submitted = '';
    for await (const snapshot of units.watch(request, signal)) {
      signal.throwIfAborted();
      await reports.source(agent, unit, snapshot);
      signal.throwIfAborted();
      if (snapshot.rendered === undefined) continue;
      const { commitId, bundle, incomplete } = snapshot.rendered;
      const identity = `${commitId}/${bundle.digest}/${incomplete}`;
      if (submitted === identity) continue;
      submitted = identity;
      const { name, project: path } = unit;
      const { detectedAt } = snapshot;
      onBundle({ unit: name, project: path, sourceId: sourceId(unit), commitId, detectedAt, bundle, incomplete });
    }
  }
}
