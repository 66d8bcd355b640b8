import { type Desired, type Misplaced, placeBundle } from './desired/desired.ts';
import { setAside } from './desired/set-aside.ts';
import { followScope } from './inventory/follow-scope.ts';
import type { Inventory, Scope } from './inventory/inventory.ts';
import { findStrays } from './memory/strays.ts';
import type { UnitMemory } from './memory/unit-memory.ts';
import { type Plan, planSync } from './plan/plan.ts';
import type { TrackedObject } from './plan/tracked-object.ts';
import type { UnitObjects } from './plan/unit-objects.ts';
import type { EngineParts, Neighbours } from './sync-context.ts';
import type { Unit, UnitBundle } from './unit.ts';

export interface SurveyInput {
  readonly unit: Unit;
  readonly bundle: UnitBundle;
  readonly objects: UnitObjects;
  readonly inventory: Inventory;
  readonly memory: UnitMemory;
  readonly neighbours: Neighbours;
  readonly parts: EngineParts;
  /** The object is not there any more, though an agent before this one applied it. */
  readonly lost: (tracked: TrackedObject) => void;
}

export interface Survey {
  /** Objects that have a place in the cluster and can be watched. */
  readonly desired: readonly Desired[];
  readonly failed: readonly Misplaced[];
  /** Objects that are left alone. */
  readonly aside: readonly Misplaced[];
  /** Of the inventory: where it is not known what exists. */
  readonly unseen: Scope;
  readonly plan: Plan;
}

/** Sees what is there, and compares it with what Git wants. Writes nothing. */
export async function survey(input: SurveyInput, signal: AbortSignal): Promise<Survey> {
  const { unit, bundle, objects, inventory, memory, neighbours, parts } = input;
  const { live } = parts;
  const { applySetId } = inventory;

  // Find the place of every object in this cluster.
  const placed = setAside(await placeBundle(bundle.bundle, parts.catalog, unit.defaultNamespace, signal), unit);
  const { aside } = placed;
  await memory.recall(signal);
  objects.compared = undefined;
  objects.expect(placed.desired, placed.failed, aside);
  objects.ignore(unit.ignoreRules);

  // Watch every kind that the unit has or had.
  const before = await inventory.load(signal);
  const { desired, failed, unseen } = await followScope(placed, before, parts, signal);
  objects.expect(desired, failed, aside);
  for (const tracked of objects.vanished(live)) input.lost(tracked);
  const strays = await findStrays(objects, applySetId, parts, neighbours, signal);

  // Compare.
  const plan = planSync({
    unit: unit.name,
    desired,
    aside: [...aside, ...failed],
    filters: unit,
    known: (key) => objects.known(key, unit.driftPolicy),
    live: (key) => live.get(key),
    members: [...live.members(applySetId), ...strays],
    applySetId,
    fieldManager: parts.fieldManager,
    ...neighbours,
  });
  objects.compared = bundle;
  return { desired, failed, aside, unseen, plan };
}
