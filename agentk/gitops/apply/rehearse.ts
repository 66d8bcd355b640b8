import { inParallel } from '../../../lib/in-parallel.ts';
import { WRITES_IN_FLIGHT } from '../../kube/adaptive-limit.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { adoptionRefusal } from '../adoption/adoption.ts';
import { type ChangeSet, describeFailures, type Pruned } from '../plan/change-set.ts';
import type { OrderProblem } from '../plan/order.ts';
import type { Plan, Step } from '../plan/plan.ts';
import { type Outcome, NOT_TRIED as PENDING, type TrackedObject } from '../plan/tracked-object.ts';
import type { UnitObjects } from '../plan/unit-objects.ts';
import type { EngineParts } from '../sync-context.ts';
import type { Unit } from '../unit.ts';
import { refusalOutcome } from './applier.ts';
import { tryAtOnce } from './at-once.ts';
import { FirstContact } from './first-contact.ts';
import { createOnly, notServed, terminating, unchanged } from './outcomes.ts';
import { asksForRecreation, mayRecreate } from './recreate.ts';
import { prerequisitesOf } from './rehearse-later.ts';

export interface RehearsalInput {
  readonly unit: Unit;
  readonly plan: Plan;
  /** Objects that the order has no place for. */
  readonly refused: ReadonlyMap<string, OrderProblem>;
  readonly objects: UnitObjects;
  readonly applySetId: string;
  readonly parts: EngineParts;
}

/** What a sync would do, found out without writing anything. */
export interface Rehearsal {
  /** Set when nothing is to be written: what there is to tell instead. */
  readonly changes: ChangeSet | undefined;
  /** Objects that cannot be tried before others of the bundle are there: their namespace or their kind comes with it. */
  readonly later: readonly Step[];
  /** Those others. */
  readonly prerequisites: ReadonlySet<string>;
}

const NOTHING: Rehearsal = { changes: undefined, later: [], prerequisites: new Set() };
const WOULD_CREATE: Outcome = { action: 'skipped', reason: 'WouldCreate', message: 'Would be created', retry: 'never' };
const WOULD_CONFIGURE: Outcome = { action: 'skipped', reason: 'WouldConfigure', message: 'Would be changed', retry: 'never' };
const WOULD_PRUNE: Outcome = { action: 'skipped', reason: 'WouldPrune', message: 'Would be deleted', retry: 'never' };
const NOT_TRIED: Outcome = {
  action: 'skipped',
  reason: 'NotTried',
  message: 'Not applied: other objects of the commit are refused, and dry_run_strategy: server applies all or nothing',
  retry: 'never',
};

/**
 * The dry-run that a unit asks for. `client`: the plan is all there is. `server`: the API server is asked about every object
 * that would be written, many at once; one refusal, and nothing is written.
 */
export async function rehearse(input: RehearsalInput, signal: AbortSignal): Promise<Rehearsal> {
  const { dryRunStrategy } = input.unit;
  if (dryRunStrategy === 'none') return NOTHING;
  const trial = new Trial(input, signal);
  if (dryRunStrategy === 'client') return { ...NOTHING, changes: await trial.foretell() };
  return await trial.ask(input.plan.steps, true);
}

/** Asks about what could not be asked about before. Nothing more is to be written when it returns a change set. */
export async function rehearseLater(
  input: RehearsalInput,
  later: readonly Step[],
  signal: AbortSignal,
): Promise<ChangeSet | undefined> {
  return (await new Trial(input, signal).ask(later, false)).changes;
}

type Answer = Outcome | 'accepted';

class Trial {
  readonly #input: RehearsalInput;
  readonly #signal: AbortSignal;
  readonly #contact: FirstContact;

  constructor(input: RehearsalInput, signal: AbortSignal) {
    this.#input = input;
    this.#signal = signal;
    const { cluster, agentId, fieldManager } = input.parts;
    const claimant = { agentId: String(agentId), applySetId: input.applySetId, fieldManager };
    const strangers = input.plan.steps.filter(({ kind }) => kind === 'contact').map(({ desired }) => desired);
    this.#contact = new FirstContact(cluster, claimant, strangers);
  }

  /** Without asking the API server about any content. */
  async foretell(): Promise<ChangeSet> {
    const { plan, objects } = this.#input;
    await this.#each(plan.steps, async (step, tracked) => {
      tracked.outcome = this.#settled(step, tracked) ?? (await this.#intention(step, tracked));
    });
    const pruned: Pruned[] = plan.surplus.map((entry) => ({ entry, outcome: WOULD_PRUNE }));
    const changes = { objects: objects.all(), pruned, notPruned: undefined };
    const failures = failuresIn(changes);
    if (failures > 0) return refusedChanges(changes, failures);
    const count = (wanted: Outcome): number => changes.objects.filter(({ outcome }) => outcome === wanted).length;
    const message = `Nothing is written (dry_run_strategy: client). Would create ${count(WOULD_CREATE)}, change ${count(WOULD_CONFIGURE)} and delete ${pruned.length} objects`;
    return { ...changes, verdict: { phase: 'suspended', reason: 'DryRun', message } };
  }

  async ask(steps: readonly Step[], mayDefer: boolean): Promise<Rehearsal> {
    const { plan } = this.#input;
    const answers = new Map<string, Answer>();
    await this.#each(steps, async (step, tracked) => {
      answers.set(tracked.key, this.#settled(step, tracked) ?? (await this.#answer(step, tracked)));
    });
    const refused = steps.filter(({ desired }) => isRefusal(answers.get(desired.key)));
    const prerequisites = mayDefer ? prerequisitesOf(refused, answers, plan.steps) : undefined;
    const later = refused.filter(({ desired }) => prerequisites?.deferred.has(desired.key) === true);
    for (const { desired } of later) answers.set(desired.key, 'accepted');
    const passed = refused.length === later.length && this.#misplaced() === 0;
    this.#tell(answers, passed ? PENDING : NOT_TRIED);
    if (passed) return { changes: undefined, later, prerequisites: prerequisites?.keys ?? new Set() };
    const changes = { objects: this.#input.objects.all(), pruned: [], notPruned: undefined };
    return { ...NOTHING, changes: refusedChanges(changes, failuresIn(changes)) };
  }

  /** Objects that have no place in the cluster. */
  #misplaced(): number {
    const { objects } = this.#input;
    return objects.all().filter((tracked) => objects.get(tracked.key) !== tracked && tracked.outcome.action === 'failed').length;
  }

  #tell(answers: ReadonlyMap<string, Answer>, accepted: Outcome): void {
    for (const tracked of this.#input.objects.byKey.values()) {
      const answer = answers.get(tracked.key);
      if (answer !== undefined) tracked.outcome = answer === 'accepted' ? accepted : answer;
      else if (tracked.outcome === PENDING) tracked.outcome = accepted;
    }
  }

  async #each(steps: readonly Step[], work: (step: Step, tracked: TrackedObject) => Promise<void>): Promise<void> {
    await inParallel(steps, WRITES_IN_FLIGHT, async (step) => {
      this.#signal.throwIfAborted();
      const tracked = this.#input.objects.get(step.desired.key);
      if (tracked !== undefined) await work(step, tracked);
    });
  }

  /** What needs no question. */
  #settled(step: Step, tracked: TrackedObject): Outcome | undefined {
    const problem = this.#input.refused.get(tracked.key);
    if (problem !== undefined) return { action: 'failed', ...problem, retry: 'never' };
    const { kind, reason, message } = step;
    if (kind === 'keep' || kind === 'verify') return unchanged(tracked);
    if (kind === 'skip') return createOnly(tracked);
    if (kind === 'refuse') return { action: 'failed', reason, message, retry: 'slowly' };
    return kind === 'wait' ? { action: 'waiting', reason, message, retry: 'soon' } : undefined;
  }

  async #intention(step: Step, tracked: TrackedObject): Promise<Outcome> {
    if (step.kind === 'apply') return WOULD_CONFIGURE;
    try {
      const found = await this.#look(tracked);
      if (found === undefined) return WOULD_CREATE;
      return 'live' in found ? WOULD_CONFIGURE : found;
    } catch (error) {
      return this.#refused(error, tracked);
    }
  }

  async #answer(step: Step, tracked: TrackedObject): Promise<Answer> {
    const { parts, applySetId, unit } = this.#input;
    const ask = async (): Promise<Answer> => {
      const found = step.kind === 'contact' ? await this.#look(tracked) : undefined;
      if (found !== undefined && !('live' in found)) return found;
      await parts.applier.preview(tracked, applySetId, found?.live, this.#signal);
      return 'accepted';
    };
    try {
      return await tryAtOnce(ask, tracked.desired, parts.catalog, this.#signal);
    } catch (error) {
      if (!asksForRecreation(error)) return this.#refused(error, tracked);
      const propagationPolicy = unit.prunePropagation === 'foreground' ? 'Foreground' : 'Background';
      const recreation = { parts, applySetId, propagationPolicy } as const;
      try {
        const found = await mayRecreate(tracked, error, recreation, this.#signal);
        return 'live' in found ? 'accepted' : found;
      } catch (failure) {
        return this.#refused(failure, tracked);
      }
    }
  }

  /** What is in the object's place: nothing, an object that would be adopted, or what stands in the way. */
  async #look(tracked: TrackedObject): Promise<{ readonly live: LiveObject } | Outcome | undefined> {
    const { parts, unit } = this.#input;
    const { desired } = tracked;
    const ref = parts.applier.ref(desired);
    // Its kind may come with the bundle: `client` says what would be, `server` tries it later.
    if (ref === undefined) return unit.dryRunStrategy === 'client' ? undefined : notServed(tracked);
    const contact = await this.#contact.look(tracked.key, ref, this.#signal);
    if (contact.kind === 'absent') return undefined;
    const { live } = contact;
    if (desired.manifest.handling.mode === 'create-only') return createOnly(tracked);
    const refusal = adoptionRefusal(desired, contact, unit.inventoryPolicy);
    if (refusal !== undefined) return refusal;
    return live.metadata.deletionTimestamp === undefined ? { live } : terminating(tracked);
  }

  #refused(error: unknown, tracked: TrackedObject): Outcome {
    this.#signal.throwIfAborted();
    return refusalOutcome(error, tracked.desired);
  }
}

function isRefusal(answer: Answer | undefined): answer is Outcome {
  return typeof answer === 'object' && answer.action === 'failed';
}

function failuresIn({ objects }: Pick<ChangeSet, 'objects' | 'pruned'>): number {
  return objects.filter(({ outcome }) => outcome.action === 'failed').length;
}

function refusedChanges(changes: ChangeSet, failures: number): ChangeSet {
  const written = changes.objects.filter(({ outcome }) => outcome.action === 'created' || outcome.action === 'configured');
  const applied = written.length === 0 ? 'Nothing' : `Nothing but ${written.length} that others of the commit need`;
  const message = `${applied} was applied, ${failures} refused: ${describeFailures(changes)}`;
  return { ...changes, verdict: { phase: 'failed', reason: 'DryRunFailed', message } };
}
