import type { Unit, UnitBundle } from '../unit.ts';

/** A unit of the configuration, and the newest bundle that came for it. */
export interface Standpoint {
  readonly unit: Unit;
  readonly bundle: UnitBundle | undefined;
  /** Commit of the bundle that came before the newest commit; undefined: none came, since the agent started. */
  readonly before?: string | undefined;
}

/** From where a unit is: of a project one branch, tag or commit. */
export type Source = Pick<Unit, 'project' | 'ref'>;

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

/** The commit of each unit that comes from a source, or may do so: of one without a project that is not known. */
export function commitsOf(source: Source, units: readonly Standpoint[]): ReadonlyMap<string, string> {
  const ofSource = units.filter(({ unit }) => source.project === '' || mayBeOneSource(unit, source));
  return new Map(ofSource.flatMap(({ unit, bundle }) => (bundle === undefined ? [] : [[unit.name, bundle.commitId]])));
}

/**
 * Units of a source that are still at the commit at which they were when another unit of it left the configuration. Where
 * the configuration is of the same repository, `newest` is its commit, and a unit that has reached it is not behind.
 */
export function unmoved(
  source: Source,
  then: ReadonlyMap<string, string>,
  units: readonly Standpoint[],
  newest: string,
): readonly Awaited[] {
  const now = commitsOf(source, units);
  const isUnmoved = ([unit, commitId]: readonly [string, string]): boolean => commitId !== newest && then.get(unit) === commitId;
  return [...now].filter(isUnmoved).map(([unit]) => ({ unit, certain: false }));
}

function isOneSource(a: Source, b: Source): boolean {
  return a.project === b.project && branchOf(a) === branchOf(b);
}

/** Empty: the default branch, by whatever name. */
function branchOf({ ref = '' }: Source): string {
  return ref.replace(/^refs\/heads\//, '');
}

/** What the default branch is called nobody says. */
function mayBeOneSource(a: Source, b: Source): boolean {
  return isOneSource(a, b) || (a.project === b.project && (branchOf(a) === '' || branchOf(b) === ''));
}

/** A unit that was at the same commit before may be of the default branch, too. */
function mayBeDefault(other: Standpoint, own: Standpoint): boolean {
  if (!mayBeOneSource(other.unit, own.unit)) return false;
  return own.before === undefined || own.before === other.bundle?.commitId;
}

function isBehind(other: Standpoint, own: Standpoint | undefined): boolean {
  const { unit, bundle } = other;
  if (bundle === undefined || isOfOther(bundle.sourceId, unit.sourceId)) return true;
  if (own?.bundle === undefined || !(isOneSource(unit, own.unit) || mayBeDefault(other, own))) return false;
  return bundle.commitId !== own.bundle.commitId;
}

/** An older kas does not say what a bundle is made from. */
function isOfOther(made = '', configured = ''): boolean {
  return made !== '' && configured !== '' && made !== configured;
}
