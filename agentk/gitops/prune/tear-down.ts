import { AbortScope, sleep } from '../../../lib/abort.ts';
import { Backoff } from '../../../lib/backoff.ts';
import { isAbort, toError } from '../../../lib/errors.ts';
import { Latest } from '../../../lib/latest.ts';
import type { Logger } from '../../../lib/log.ts';
import { formatObjectId } from '../../../lib/object-id.ts';
import type { LiveObject, ResourceType } from '../../kube/cluster.ts';
import { REMOVED_AT } from '../desired/labels.ts';
import { isExcluded } from '../desired/set-aside.ts';
import { EMPTY_SCOPE, type Inventory, type Scope } from '../inventory/inventory.ts';
import { type Removal, removalNotes } from '../inventory/removal-notes.ts';
import type { LiveEntry } from '../live/live-entry.ts';
import { excluded, type Pruned } from '../plan/change-set.ts';
import { isApplied } from '../plan/plan.ts';
import type { EngineParts } from '../sync-context.ts';
import { isConfirmed, isOverBudget } from './budget.ts';
import { type Awaited, commitsOf, type Source, type Standpoint, unmoved } from './hand-over.ts';
import { needsConfirmation } from './objection.ts';
import { Pruner } from './pruner.ts';

export interface TearDownDeps {
  readonly unit: string;
  readonly removal: Removal;
  readonly inventory: Inventory;
  readonly parts: EngineParts;
  /** The unit of the configuration that wants an object. */
  readonly claimedBy: (key: string) => string | undefined;
  /** Names of units that may want objects, but have not said so yet. */
  readonly behind: () => readonly Awaited[];
  /** The newest configuration: its commit, and whether it lacks more units than it has. */
  readonly configuration: () => { readonly commitId: string; readonly isDecimated: boolean };
  readonly handOverMs: number;
  /** Units of the configuration. */
  readonly standpoints: () => readonly Standpoint[];
  /** How long those of the unit's own source are given to leave the commit at which they are. */
  readonly movingMs: number;
  readonly log: Logger;
  readonly now: () => number;
}

const RETRY = { initialMs: 1_000, maxMs: 300_000, factor: 2, jitter: 0.3, resetAfterMs: 600_000 };

/**
 * The end of a unit that left the configuration with the policy `prune`: its objects are deleted by the rules of any prune,
 * then the ApplySet parent. Nobody is told of it but the log and those who look at the parent.
 */
export class TearDown {
  readonly #deps: TearDownDeps;
  readonly #pruner: Pruner;
  readonly #requests = new Latest<'go'>();
  readonly #backoff = new Backoff(RETRY);
  /** Kinds of which it was known what there is of them. */
  readonly #seenKinds = new Set<string>();
  #said = '';
  /** Where units of its source were when it left the configuration, until they had time to move. */
  #siblings: ReadonlyMap<string, string>;

  constructor(deps: TearDownDeps) {
    this.#deps = deps;
    const { inventory, now, handOverMs, standpoints } = deps;
    this.#pruner = new Pruner({ applySetId: inventory.applySetId, wake: () => this.resync(), now, handOverMs });
    this.#siblings = commitsOf(this.#source(), standpoints());
    this.resync();
  }

  /** Something that it waits for may have changed. */
  resync(): void {
    this.#requests.set('go');
  }

  seen(entry: LiveEntry, object: LiveObject): void {
    this.#pruner.seen(entry, object);
  }

  lost(entry: LiveEntry): void {
    this.#pruner.lost(entry);
  }

  /** Until the unit is gone, or the signal fires and nothing is on its way any more. */
  async run(signal: AbortSignal): Promise<void> {
    using scope = new AbortScope(signal);
    scope.signal.addEventListener('abort', () => this.#requests.close(), { once: true });
    if (signal.aborted) return;
    void sleep(this.#deps.movingMs, scope.signal).then(
      () => {
        this.#siblings = new Map();
        this.resync();
      },
      () => undefined,
    );
    for await (const _request of this.#requests) {
      try {
        if (await this.#attempt(scope.signal)) break;
      } catch (error) {
        if (isAbort(error, scope.signal)) break;
        this.#retry(toError(error), scope.signal);
      }
    }
    this.#pruner[Symbol.dispose]();
  }

  /** True when nothing of the unit is left. */
  async #attempt(signal: AbortSignal): Promise<boolean> {
    const { unit, removal, inventory, parts, claimedBy, log } = this.#deps;
    const scope = await inventory.load(signal);
    if (scope === EMPTY_SCOPE) return true;
    const unknown = await this.#follow(scope, signal);
    const members = [...parts.live.members(inventory.applySetId)].filter((entry) => isApplied(entry, parts.fieldManager));
    const claims = members.map((entry) => ({ entry, unit: claimedBy(entry.key) ?? '' }));
    const free = claims.filter((claim) => claim.unit === '').map(({ entry }) => entry);
    const surplus = free.filter(({ id }) => !isExcluded(id, removal));
    const spared = free.filter(({ id }) => isExcluded(id, removal)).map(excluded);
    const handedOver = this.#pruner.handOver(claims.filter((claim) => claim.unit !== ''));
    const awaited = this.#pruner.hold(surplus, this.#awaited());
    if (awaited[0] !== undefined) {
      this.#say('Removed unit: waiting for the bundles of other units, which may want its objects', awaited.join(', '));
      return false;
    }
    if (!(await this.#isAllowed(surplus, signal))) return false;
    const pruned = await this.#pruner.prune({ surplus, policy: removal, parts, claimedBy, wanted: () => false }, signal);
    const left = [...pruned.filter(({ outcome }) => outcome.action !== 'pruned'), ...handedOver, ...spared];
    if (left.length === 0 && unknown.length === 0) {
      await inventory.delete(signal);
      log.info('Removed unit: all its objects are gone', { unit, pruned: pruned.length });
      return true;
    }
    this.#tell(left, unknown);
    if (unknown.length > 0 || left.some(({ outcome }) => outcome.retry !== 'never')) this.#retryLater(signal);
    return false;
  }

  /** One commit may take a unit out of the configuration and move its files to another: that one's bundle is yet to come. */
  #awaited(): readonly Awaited[] {
    const { behind, standpoints, configuration } = this.#deps;
    return [...behind(), ...unmoved(this.#source(), this.#siblings, standpoints(), configuration().commitId)];
  }

  #source(): Source {
    const { project = '', ref } = this.#deps.removal;
    return { project, ref };
  }

  /** Watches the kinds of the unit; those of which nobody can say whether there are objects. */
  async #follow({ kinds, namespaces }: Scope, signal: AbortSignal): Promise<readonly string[]> {
    const { catalog, live } = this.#deps.parts;
    await catalog.load(signal);
    const types = new Map<string, ResourceType>();
    for (const kind of kinds) {
      const [group = '', name = ''] = kind.split('|');
      const type = catalog.resourceType(group, name);
      if (type !== undefined) types.set(kind, type);
    }
    const failures = await live.follow(
      [...types].filter(([kind]) => !this.#isFollowed(kind)).map(([, type]) => type),
      namespaces,
      signal,
    );
    const failed = new Set(failures.map(({ kind }) => kind));
    for (const kind of types.keys()) if (!failed.has(kind)) this.#seenKinds.add(kind);
    return [...kinds].filter((kind) => !this.#seenKinds.has(kind));
  }

  #isFollowed(kind: string): boolean {
    const [group = '', name = ''] = kind.split('|');
    return this.#deps.parts.live.follows(group, name);
  }

  /**
   * A configuration that lost most of its units, or all, is more likely an accident than a wish: it needs a confirmation
   * however small the unit. What was asked once stays asked, until the unit is back.
   */
  async #isAllowed(surplus: readonly LiveEntry[], signal: AbortSignal): Promise<boolean> {
    const { removal, inventory, configuration } = this.#deps;
    const { commitId, isDecimated } = configuration();
    const budget = { surplus, wanted: 0, budget: removal.pruneBudget };
    const asked = inventory.note(REMOVED_AT);
    if (asked === undefined && (surplus.length === 0 || !(isDecimated || isOverBudget(budget)))) return true;
    const removedAt = asked ?? commitId;
    if (isConfirmed(inventory.confirmation, [removedAt])) return true;
    const notes = { ...removalNotes(removal, removal.agentName), [REMOVED_AT]: removedAt };
    await inventory.widen(EMPTY_SCOPE, notes, signal);
    const { reason, message } = needsConfirmation(budget, `${inventory.howToConfirm}=${removedAt}`);
    this.#say(`Removed unit: ${reason}`, message);
    return false;
  }

  #tell(left: readonly Pruned[], unknown: readonly string[]): void {
    const [first] = left;
    if (first !== undefined) {
      const rest = left.length === 1 ? '' : ` (and ${left.length - 1} more)`;
      this.#say('Removed unit: objects are left', `${formatObjectId(first.entry.id)}: ${first.outcome.message}${rest}`);
    } else if (unknown.length > 0) {
      this.#say('Removed unit: kinds are not served, so nobody knows whether there are objects', unknown.join(', '));
    }
  }

  #say(message: string, detail: string): void {
    if (this.#said === `${message} ${detail}`) return;
    this.#said = `${message} ${detail}`;
    this.#deps.log.warn(message, { unit: this.#deps.unit, detail });
  }

  #retry(error: Error, signal: AbortSignal): void {
    this.#say('Removed unit: cannot go on', error.message);
    this.#retryLater(signal);
  }

  #retryLater(signal: AbortSignal): void {
    void sleep(this.#backoff.next(), signal).then(
      () => this.resync(),
      () => undefined,
    );
  }
}
