import type { LiveObject } from '../kube/cluster.ts';
import { applyInOrder } from './apply/apply.ts';
import { applyRehearsed, partOf } from './apply/apply-rehearsed.ts';
import { rehearse } from './apply/rehearse.ts';
import { followedByNamespace } from './inventory/follow-scope.ts';
import { scopeOf, unite } from './inventory/inventory.ts';
import { removalNotes } from './inventory/removal-notes.ts';
import type { Gatekeeper } from './order/gatekeeper.ts';
import { type ChangeSet, excluded } from './plan/change-set.ts';
import { orderObjects } from './plan/order.ts';
import type { Step } from './plan/plan.ts';
import type { TrackedObject } from './plan/tracked-object.ts';
import { pruneObjection } from './prune/objection.ts';
import type { Pruner } from './prune/pruner.ts';
import { type SurveyInput, survey } from './survey.ts';

export interface Reconciliation extends SurveyInput {
  /** Digest of the bundle whose prune a person confirmed; empty: none. */
  readonly confirmedPrune: string;
  readonly pruner: Pruner;
  readonly gate: Gatekeeper;
  /** The live object differs from what was applied before this agent started. */
  readonly drifted: (tracked: TrackedObject, live: LiveObject) => void;
  /** Called whenever an object's outcome is known. */
  readonly progress: () => void;
}

/**
 * Makes the cluster as the bundle says. May be run again and again: each run does what is left to do. Failures of single
 * objects are outcomes; it throws when nothing could be done, or the signal's reason, with no request left on its way.
 */
export async function reconcile(sync: Reconciliation, signal: AbortSignal): Promise<ChangeSet> {
  const { unit, bundle, objects, inventory, pruner, neighbours, parts, gate, progress, drifted } = sync;
  const { applySetId } = inventory;

  // See what is there, and compare.
  const { desired, failed, aside, unseen, plan } = await survey(sync, signal);

  const placedOrder = orderObjects(
    desired,
    failed.map((misplaced) => misplaced.desired),
    ({ group, kind }) => parts.catalog.resourceType(group, kind)?.resource,
  );

  // Rehearse, where the unit wants all or nothing.
  const script = { unit, plan, refused: placedOrder.refused, objects, applySetId, parts };
  const rehearsal = await rehearse(script, signal);
  if (rehearsal.changes !== undefined) return rehearsal.changes;

  // Say what will be ours before it is.
  await inventory.widen(scopeOf(desired.map(({ id }) => id)), removalNotes(unit, parts.agentName), parts.hardStop);
  signal.throwIfAborted();

  // Apply.
  const apply = async (steps: readonly Step[]): Promise<void> => {
    const whole = gate.begin({ order: placedOrder, steps, misplaced: failed });
    const order = steps.length < plan.steps.length ? partOf(whole, steps) : whole;
    const all = { gate, objects: objects.byKey, applySetId, unit, parts, progress, drifted };
    await applyInOrder({ ...all, steps, order }, signal);
  };
  const refused = await applyRehearsed(rehearsal, script, apply, signal);
  if (refused !== undefined) return refused;

  // Prune, but only when Git's word is known to be whole and in place, and small or confirmed.
  const held = plan.surplus.length === 0 ? undefined : gate.pruneObjection();
  const notPruned =
    held ??
    pruneObjection({
      unit,
      bundle,
      objects: objects.all(),
      surplus: plan.surplus,
      awaited: pruner.hold(plan.surplus, neighbours.behind()),
      confirmations: [sync.confirmedPrune, inventory.confirmation],
      howToConfirm: inventory.howToConfirm,
    });
  const may = notPruned === undefined ? plan.surplus : [];
  const dependedOn = gate.heldByDependants(may, may.length === 0 ? [] : parts.live.dependants());
  const surplus = may.filter((entry) => !dependedOn.some((held) => held.entry === entry));
  const claimedBy = (key: string): string | undefined => neighbours.claimedBy(key);
  const wanted = (key: string): boolean => objects.get(key) !== undefined;
  const pruned = [
    ...(await pruner.prune({ surplus, policy: unit, parts, claimedBy, wanted }, signal)),
    ...dependedOn,
    ...pruner.handOver(plan.claims),
    ...plan.left.map(excluded),
  ];
  for (const { entry, outcome } of pruned) if (outcome.action === 'pruned') objects.letGo(entry.key);
  // Forget where nothing is left.
  if (notPruned === undefined && failed.length === 0) {
    const left = pruned.filter(({ outcome }) => outcome.action !== 'pruned').map(({ entry }) => entry.id);
    const spared = aside.flatMap(({ desired: { key } }) => parts.live.get(key)?.id ?? []);
    const scope = scopeOf([...desired.map(({ id }) => id), ...spared, ...left]);
    await inventory.narrow(unite(scope, unseen), signal);
  }
  return { objects: objects.all(), pruned, notPruned, followedByNamespace: followedByNamespace(desired, parts) };
}
