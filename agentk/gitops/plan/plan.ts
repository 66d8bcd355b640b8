import { formatObjectId } from '../../../lib/object-id.ts';
import type { Desired } from '../desired/desired.ts';
import { type Filters, isExcluded } from '../desired/set-aside.ts';
import type { LiveEntry } from '../live/live-entry.ts';

/** What the engine remembers of an object that it applied or verified itself. */
export interface Known {
  readonly digest: string;
  readonly uid: string;
  /** The live object differs from Git, and drift is corrected. */
  readonly dirty: boolean;
  /** It is gone, and drift is not corrected. */
  readonly missing?: boolean;
}

export type StepKind =
  /** As Git wants it: no request. */
  | 'keep'
  | 'apply'
  /** Carries the digest that Git has, but nobody compared the values yet: one list per kind tells. */
  | 'verify'
  /** Not ours as far as the watch knows: look before touching it. */
  | 'contact'
  /** Is being deleted; applied once it is gone. */
  | 'wait'
  /** Belongs to somebody else. */
  | 'refuse'
  /** Was created, and is left alone from then on. */
  | 'skip';

export interface Step {
  readonly desired: Desired;
  readonly kind: StepKind;
  /** Constant in CamelCase. */
  readonly reason: string;
  readonly message: string;
  /** Set when the object is expected to be this one. */
  readonly uid: string | undefined;
}

export interface Plan {
  readonly steps: readonly Step[];
  /** Objects of the unit that Git has no more. */
  readonly surplus: readonly LiveEntry[];
  /** The same, but another unit of the agent wants them. */
  readonly claims: readonly { readonly entry: LiveEntry; readonly unit: string }[];
  /** Such that are to stay, whatever Git says. */
  readonly left: readonly LiveEntry[];
}

export interface PlanInput {
  /** Name of the unit. */
  readonly unit: string;
  readonly desired: readonly Desired[];
  /** Objects that Git has and for which there is nothing to do: they are left alone, or cannot be placed or watched. */
  readonly aside: readonly { readonly desired: Desired }[];
  readonly filters: Filters;
  /** `undefined` where nothing was applied or verified since the agent started. */
  readonly known: (key: string) => Known | undefined;
  /** Objects with the agent's label. */
  readonly live: (key: string) => LiveEntry | undefined;
  /** Objects that carry the ApplySet label of this unit. */
  readonly members: Iterable<LiveEntry>;
  readonly applySetId: string;
  /** Under which the agent applies. */
  readonly fieldManager: string;
  /** The other unit of this agent that wants the object, if any. */
  readonly claimedBy: (key: string) => string | undefined;
  /** Whether an ApplySet label of our agent may be replaced: its unit left the configuration or does not want the object. */
  readonly mayTakeOver: (applySetId: string, key: string) => boolean;
}

/** Compares what Git wants with what is known of the cluster. Pure. */
export function planSync(input: PlanInput): Plan {
  const steps = input.desired.map((desired) => planObject(desired, input));
  const wanted = new Set([...input.desired, ...input.aside.map(({ desired }) => desired)].map(({ key }) => key));
  // One object can be had from several API groups: what Git names in another one now is still the same object.
  const kept = new Set([...wanted].flatMap((key) => input.live(key)?.uid ?? []));
  const surplus: LiveEntry[] = [];
  const left: LiveEntry[] = [];
  const claims: { entry: LiveEntry; unit: string }[] = [];
  for (const entry of input.members) {
    if (wanted.has(entry.key) || kept.has(entry.uid) || !isApplied(entry, input.fieldManager)) continue;
    const unit = input.claimedBy(entry.key);
    if (unit !== undefined) claims.push({ entry, unit });
    else if (isExcluded(entry.id, input.filters)) left.push(entry);
    else surplus.push(entry);
  }
  return { steps, surplus, claims, left };
}

/** Labels alone prove nothing: controllers give them on to what they make (EndpointSlices), and people copy objects whole. */
export function isApplied({ appliers }: LiveEntry, fieldManager: string): boolean {
  return appliers.includes(fieldManager);
}

function planObject(desired: Desired, input: PlanInput): Step {
  const live = input.live(desired.key);
  const step = (kind: StepKind, reason: string, message = ''): Step => ({ desired, kind, reason, message, uid: live?.uid });
  if (live === undefined) {
    const known = input.known(desired.key);
    if (known?.missing === true && known.digest === desired.object.digest) return step('keep', 'Missing');
    const rival = input.claimedBy(desired.key);
    if (rival === undefined || input.unit < rival) return step('contact', 'NotSeen');
    return step('refuse', 'OwnedByOther', `Unit ${rival} of this agent describes ${formatObjectId(desired.id)}, too`);
  }
  if (live.terminating) return step('wait', 'Terminating', terminating(desired, live));
  const isCreatedOnly = desired.manifest.handling.mode === 'create-only';
  if (live.partOf !== input.applySetId) {
    const isFree = live.partOf === undefined || input.mayTakeOver(live.partOf, desired.key);
    // Whosever it was: an apply would undo what it became since.
    if (isFree) return isCreatedOnly ? step('skip', 'CreateOnly') : step('apply', 'TakenOver');
    const owner = input.claimedBy(desired.key);
    const name = owner === undefined ? `ApplySet ${live.partOf}` : `unit ${owner}`;
    return step('refuse', 'OwnedByOther', `${formatObjectId(desired.id)} belongs to ${name} of this agent`);
  }
  if (isCreatedOnly) return step('skip', 'CreateOnly');
  const known = input.known(desired.key);
  if (live.digest !== desired.object.digest) return step('apply', 'Changed');
  if (known === undefined || known.uid !== live.uid) return step('verify', 'Unverified');
  if (known.digest !== desired.object.digest) return step('apply', 'Changed');
  return known.dirty ? step('apply', 'Drifted') : step('keep', 'Unchanged');
}

function terminating({ id }: Desired, live: LiveEntry): string {
  const finalizers = live.finalizers.length === 0 ? '' : `, held by finalizers ${live.finalizers.join(', ')}`;
  return `Waiting for deletion of ${formatObjectId(id)}${finalizers}`;
}
