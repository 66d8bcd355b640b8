import { bundleKeys } from './desired/desired.ts';
import { type SyncState, sameBundle, type Unit, type UnitBundle } from './unit.ts';

/** How far a unit is with its bundles: the newest, the one whose sync began last, the one at which it was synced. */
export class BundleProgress {
  #newest: UnitBundle | undefined;
  #before: string | undefined;
  /** Keys of the newest bundle's objects. */
  #wanted: ReadonlySet<string> = new Set();
  #begun: UnitBundle | undefined;
  /** Whether the newest attempt was to write nothing. */
  #suspended = false;
  /** Where the unit was synced when it was told last. */
  #synced: UnitBundle | undefined;

  get newest(): UnitBundle | undefined {
    return this.#newest;
  }

  /** See `Standpoint`. */
  get before(): string | undefined {
    return this.#before;
  }

  get begun(): UnitBundle | undefined {
    return this.#begun;
  }

  /** Whether the sync that began last is that of the newest bundle. */
  get isBegun(): boolean {
    return this.#begun === this.#newest;
  }

  /** Whether the unit was synced at the newest bundle when it was told last. */
  get isSynced(): boolean {
    return this.#synced === this.#newest;
  }

  /** False when the bundle is the one that is there already. */
  submit(bundle: UnitBundle, unit: Unit): boolean {
    const held = this.#newest;
    if (held !== undefined && sameBundle(held, bundle)) return false;
    if (held?.commitId !== bundle.commitId) this.#before = held?.commitId;
    this.#newest = bundle;
    this.configure(unit);
    return true;
  }

  configure(unit: Unit): void {
    if (this.#newest !== undefined) this.#wanted = bundleKeys(this.#newest.bundle, unit.defaultNamespace);
  }

  /** Whether the newest bundle holds the object; undefined while there is none. */
  wants(key: string): boolean | undefined {
    return this.#newest === undefined ? undefined : this.#wanted.has(key);
  }

  /** An attempt at a bundle begins. True when it is the first of this bundle in this mode. */
  begin(bundle: UnitBundle, suspended: boolean): boolean {
    const first = this.#begun !== bundle || this.#suspended !== suspended;
    this.#begun = bundle;
    this.#suspended = suspended;
    return first;
  }

  /** The unit's phase was told. */
  told({ phase }: Pick<SyncState, 'phase'>): void {
    // What was synced when it was suspended is so for others until Git wants something else.
    if (phase !== 'suspended') this.#synced = phase === 'synced' ? this.#begun : undefined;
  }
}
