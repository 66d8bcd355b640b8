import type { Unit, UnitBundle } from '../unit.ts';

/** A unit of the configuration, and the newest bundle that came for it. */
export interface Standpoint {
  readonly unit: Unit;
  readonly bundle: UnitBundle | undefined;
}

/** A unit whose bundle may want an object that left Git elsewhere. */
export interface Awaited {
  readonly unit: string;
  /**
   * It comes from the same branch of the same repository: its bundle of this commit comes at once, unless its manifests are
   * broken. An object may have moved to one of those, so it is waited for until they are right, however long that takes.
   */
  readonly certain: boolean;
}

/**
 * The units that may want an object that left Git elsewhere, but have not said so yet: those whose newest bundle is not of
 * this configuration, or of another commit of the repository that `own` comes from. `own` is undefined for a unit that left
 * the configuration. Pure.
 */
export function awaitedUnits(own: Standpoint | undefined, others: readonly Standpoint[]): readonly Awaited[] {
  const all = own === undefined ? others : [own, ...others];
  return all
    .filter((other) => isBehind(other, own))
    .map(({ unit }) => ({ unit: unit.name, certain: own !== undefined && unit !== own.unit && isOneSource(unit, own.unit) }));
}

function isOneSource(a: Unit, b: Unit): boolean {
  return a.project === b.project && a.ref === b.ref;
}

function isBehind({ unit, bundle }: Standpoint, own: Standpoint | undefined): boolean {
  if (bundle === undefined || isOfOther(bundle.sourceId, unit.sourceId)) return true;
  if (own?.bundle === undefined || !isOneSource(unit, own.unit)) return false;
  return bundle.commitId !== own.bundle.commitId;
}

/** An older kas does not say what a bundle is made from. */
function isOfOther(made = '', configured = ''): boolean {
  return made !== '' && configured !== '' && made !== configured;
}
