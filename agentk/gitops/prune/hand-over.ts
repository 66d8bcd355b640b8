import type { Unit, UnitBundle } from '../unit.ts';

/** A unit of the configuration, and the newest bundle that came for it. */
export interface Standpoint {
  readonly unit: Unit;
  readonly bundle: UnitBundle | undefined;
}

/**
 * Names of the units that may want an object that left Git elsewhere, but have not said so yet: those whose newest bundle
 * is not of this configuration, or of another commit of the repository that `own` comes from. `own` is undefined for a unit
 * that left the configuration. Pure.
 */
export function awaitedUnits(own: Standpoint | undefined, others: readonly Standpoint[]): readonly string[] {
  const all = own === undefined ? others : [own, ...others];
  return all.filter((other) => isBehind(other, own)).map(({ unit }) => unit.name);
}

function isBehind({ unit, bundle }: Standpoint, own: Standpoint | undefined): boolean {
  if (bundle === undefined || isOfOther(bundle.sourceId, unit.sourceId)) return true;
  if (own?.bundle === undefined || unit.project !== own.unit.project || unit.ref !== own.unit.ref) return false;
  return bundle.commitId !== own.bundle.commitId;
}

/** An older kas does not say what a bundle is made from. */
function isOfOther(made = '', configured = ''): boolean {
  return made !== '' && configured !== '' && made !== configured;
}
