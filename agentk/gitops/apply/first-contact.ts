import { objectKey } from '../../../lib/object-id.ts';
import type { Cluster, LiveObject, ObjectRef } from '../../kube/cluster.ts';
import { KubeError } from '../../kube/kube-error.ts';
import { type Claimant, type Owner, ownerOf } from '../adoption/owners.ts';
import { PART_OF } from '../desired/labels.ts';
import { liveObjectId } from '../live/live-entry.ts';

/** What there is in the place of an object that this agent has not applied yet. */
export type Contact =
  | { readonly kind: 'absent' }
  | {
      readonly kind: 'exists';
      readonly live: LiveObject;
      /** Somebody else's inventory that has it. */
      readonly owner: Owner | undefined;
      /** It says that it is the unit's. */
      readonly ours: boolean;
    };

/** Below so many objects of one kind in a namespace each is asked for, above they are listed. */
const ASK_FOR_EACH = 2;

/**
 * Looks before the first apply of an object: server-side apply would silently take what exists (it knows no "must not
 * exist", and equal or disjoint fields do not conflict). One list per kind and namespace, however many objects.
 */
export class FirstContact {
  readonly #cluster: Cluster;
  readonly #claimant: Claimant;
  /** How many objects of each kind and namespace are to be looked for. */
  readonly #counts = new Map<string, number>();
  readonly #lists = new Map<string, Promise<ReadonlyMap<string, LiveObject>>>();

  constructor(cluster: Cluster, claimant: Claimant, strangers: Iterable<{ readonly key: string }>) {
    this.#cluster = cluster;
    this.#claimant = claimant;
    for (const { key } of strangers) {
      const place = placeOf(key);
      this.#counts.set(place, (this.#counts.get(place) ?? 0) + 1);
    }
  }

  async look(key: string, ref: ObjectRef, signal: AbortSignal): Promise<Contact> {
    const live = await this.#find(key, ref, signal);
    if (live === undefined) return { kind: 'absent' };
    const ours = live.metadata.labels?.[PART_OF] === this.#claimant.applySetId;
    return { kind: 'exists', live, owner: ownerOf(live, this.#claimant), ours };
  }

  async #find(key: string, ref: ObjectRef, signal: AbortSignal): Promise<LiveObject | undefined> {
    const place = placeOf(key);
    if ((this.#counts.get(place) ?? 0) > ASK_FOR_EACH) {
      let list = this.#lists.get(place);
      if (list === undefined) {
        list = this.#list(ref, signal);
        this.#lists.set(place, list);
      }
      return (await list).get(key);
    }
    try {
      return await this.#cluster.get(ref, signal);
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return undefined;
      throw error;
    }
  }

  async #list(ref: ObjectRef, signal: AbortSignal): Promise<ReadonlyMap<string, LiveObject>> {
    const options = ref.namespace === '' ? {} : { namespace: ref.namespace };
    const objects = await this.#cluster.list(ref.type, options, signal);
    return new Map(objects.map((object) => [objectKey(liveObjectId(object)), object]));
  }
}

/** The key without the name. */
function placeOf(key: string): string {
  return key.slice(0, key.lastIndexOf('|'));
}
