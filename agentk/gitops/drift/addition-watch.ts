import type { AdditionPolicy, DriftPolicy } from '../../../lib/unit-policy.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import type { TrackedObject } from '../plan/tracked-object.ts';
import { type Addition, additionsOn, hasSecurityFields } from './additions.ts';
import { describeFields } from './field-drift.ts';
import type { DriftReport, Finding } from './finding.ts';
import { isIgnored } from './ignored-places.ts';

export interface AdditionWatchDeps {
  readonly fieldManager: string;
  readonly policy: () => DriftPolicy;
  readonly additions: () => AdditionPolicy;
  readonly report: (tracked: TrackedObject, drift: DriftReport) => void;
  /** Has them taken away, and the result reported. */
  readonly remove: (tracked: TrackedObject, live: LiveObject, additions: readonly Addition[], finding: Finding) => void;
  readonly now: () => number;
}

/** Looks at each view of an object for what was added beside Git's content; tells each state once. */
export class AdditionWatch {
  readonly #deps: AdditionWatchDeps;
  /** What was told of and is still there, by object key. */
  readonly #told = new Map<string, string>();

  constructor(deps: AdditionWatchDeps) {
    this.#deps = deps;
  }

  seen(tracked: TrackedObject, live: LiveObject): void {
    const { id } = tracked.desired;
    if (!hasSecurityFields(id.group, id.kind)) return;
    const policy = this.#deps.policy();
    const wanted = this.#deps.additions();
    if (policy === 'off' || wanted === 'off') return;
    const additions = this.#additionsOn(tracked, live);
    if (additions.length === 0) return void this.#told.delete(tracked.key);
    const fields = describeFields(
      additions.map(({ keys }) => ({ keys, order: false })),
      {},
      live,
    );
    const identity = JSON.stringify(fields);
    if (this.#told.get(tracked.key) === identity) return;
    const { manager = '', at: changedAt } = additions[0]?.change ?? {};
    const finding: Finding = { deleted: false, fields, manager, changedAt, detectedAt: new Date(this.#deps.now()) };
    const removable = additions.filter((addition) => addition.removable);
    const shared = tracked.desired.manifest.handling.mode === 'merge';
    if (wanted === 'remove' && policy === 'correct' && removable.length > 0 && !shared) {
      return this.#deps.remove(tracked, live, removable, finding);
    }
    this.#told.set(tracked.key, identity);
    const applied = removable.length < additions.length ? `; ${manager} applies it, and has to leave it out` : '';
    const message = `Added beside what Git describes${applied}`;
    this.#deps.report(tracked, { ...finding, outcome: 'reported', resolvedAt: undefined, message });
  }

  #additionsOn({ ignored, desired }: TrackedObject, live: LiveObject): readonly Addition[] {
    const { fieldManager } = this.#deps;
    const additions = additionsOn(live, fieldManager);
    if (ignored === undefined || additions.length === 0) return additions;
    const body: unknown = JSON.parse(desired.object.content.toString('utf8'));
    return additions.filter(({ keys }) => !isIgnored(ignored, keys, body, live, fieldManager));
  }
}
