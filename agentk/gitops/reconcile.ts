import type { LiveObject } from '../kube/cluster.ts';
import { applyInOrder } from './apply/apply.ts';
import { placeBundle } from './desired/desired.ts';
import { followScope } from './inventory/follow-scope.ts';
import { type Inventory, scopeOf, unite } from './inventory/inventory.ts';
import type { Gatekeeper } from './order/gatekeeper.ts';
import type { ChangeSet } from './plan/change-set.ts';
import { orderObjects } from './plan/order.ts';
import { planSync } from './plan/plan.ts';
import type { TrackedObject } from './plan/tracked-object.ts';
import type { UnitObjects } from './plan/unit-objects.ts';
import { prune, reasonNotToPrune } from './prune/prune.ts';
import type { EngineParts, Neighbours } from './sync-context.ts';
import type { Unit, UnitBundle } from './unit.ts';

export interface Reconciliation {
  readonly unit: Unit;
  readonly bundle: UnitBundle;
  /** Digest of the bundle whose prune a person confirmed; empty: none. */
  readonly confirmedPrune: string;
  readonly objects: UnitObjects;
  readonly inventory: Inventory;
  readonly neighbours: Neighbours;
  readonly parts: EngineParts;
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
  const { unit, bundle, objects, inventory, neighbours, parts, gate, progress, drifted } = sync;
  const { live } = parts;
  const { applySetId } = inventory;

  // Find the place of every object in this cluster.
  const placed = await placeBundle(bundle.bundle, parts.catalog, unit.defaultNamespace, signal);
  objects.expect(placed.desired, placed.failed);

  // See what is there: watch every kind that the unit has or had.
  const before = await inventory.load(signal);
  const { desired, failed, unseen } = await followScope(placed, before, parts, signal);
  objects.expect(desired, failed);

  // Compare.
  const plan = planSync({
    unit: unit.name,
    desired,
    known: (key) => objects.known(key, unit.driftPolicy),
    live: (key) => live.get(key),
    members: live.members(applySetId),
    applySetId,
    fieldManager: parts.fieldManager,
    ...neighbours,
  });

  // Say what will be ours before it is.
  await inventory.widen(scopeOf(desired.map(({ id }) => id)), parts.hardStop);
  signal.throwIfAborted();

  // Apply.
  const placedOrder = orderObjects(
    desired,
    failed.map((misplaced) => misplaced.desired),
    ({ group, kind }) => parts.catalog.resourceType(group, kind)?.resource,
  );
  const order = gate.begin({ order: placedOrder, steps: plan.steps, misplaced: failed });
  const apply = { steps: plan.steps, order, gate, objects: objects.byKey, applySetId, unit, parts, progress, drifted };
  await applyInOrder(apply, signal);

  // Prune, but only when Git's word is known to be whole and in place.
  const notPruned = plan.surplus.length === 0 ? '' : reasonNotToPrune(unit, bundle, objects.all());
  const surplus = notPruned === '' ? plan.surplus : [];
  const pruned = await prune({ surplus, applySetId, parts, timeoutMs: unit.reconcileTimeoutMs }, signal);

  // Forget where nothing is left.
  if (notPruned === '' && failed.length === 0) {
    const left = pruned.filter(({ outcome }) => outcome.action !== 'pruned').map(({ entry }) => entry.id);
    const scope = scopeOf([...desired.map(({ id }) => id), ...left]);
    await inventory.narrow(unite(scope, { kinds: unseen, namespaces: new Set() }), signal);
  }
  return { objects: objects.all(), pruned, notPruned };
}
