import { UserError } from '../../lib/errors.ts';
import { FieldMask } from '../../lib/field-mask.ts';
import { type LabelSelector, parseLabelSelector } from '../../lib/label-selector.ts';
import type * as messages from '../../proto/gen/kas/agent/v1/object_cache.ts';
import { type ObjectChange, ObjectChange_Type } from '../../proto/gen/kas/agent/v1/object_cache.ts';
import { type CachedObject, PART_BYTES } from './cached-object.ts';
import type { Change, ChangeType } from './change-log.ts';
import type { ObjectCache } from './object-cache.ts';
import type { SelectionCache } from './selection-cache.ts';

const TYPES: Readonly<Record<ChangeType, ObjectChange_Type>> = {
  added: ObjectChange_Type.TYPE_ADDED,
  modified: ObjectChange_Type.TYPE_MODIFIED,
  deleted: ObjectChange_Type.TYPE_DELETED,
};

/** The calls of `kas.agent.v1.ObjectCache`, without their transport. Errors: see object_cache.proto. */
export class ObjectCacheCalls {
  readonly #cache: ObjectCache;

  constructor(cache: ObjectCache) {
    this.#cache = cache;
  }

  listSelections(): messages.ListSelectionsResponse {
    return {
      selections: this.#cache.caches().map((cache) => {
        const { group, kind, namespaces, stream } = cache.selection;
        const problem = cache.problem?.message ?? '';
        const version = problem === '' ? cache.version : '';
        return { group, kind, namespaces: [...namespaces], objects: BigInt(cache.size), problem, version, stream };
      }),
      usedBytes: BigInt(this.#cache.usedBytes),
    };
  }

  getObject({ group, kind, namespace, name, fields }: messages.GetObjectRequest): messages.GetObjectResponse {
    const found = this.#cache.cache(group, kind, namespace).get(namespace, name);
    if (found === undefined)
      throw new UserError(`there is no ${kind} ${namespace === '' ? name : `${namespace}/${name}`}`, {
        kind: 'not_found',
        reason: 'NotFound',
      });
    return { object: new View({ group, kind, namespace, labelSelector: '', fields }).message(found) };
  }

  *listObjects({ filter }: messages.ListObjectsRequest): Generator<messages.ListObjectsResponse, void, void> {
    const view = new View(required(filter));
    const cache = this.#cacheOf(view);
    // All of one moment, however long the reader takes: what is kept never changes in place.
    const version = cache.version;
    for (const objects of view.parts(cache)) yield { objects, version };
  }

  async *watchObjects(
    { filter, version }: messages.WatchObjectsRequest,
    signal: AbortSignal,
  ): AsyncGenerator<messages.WatchObjectsResponse, void, void> {
    const view = new View(required(filter));
    const cache = this.#cacheOf(view);
    let from = version;
    if (from === '') {
      from = cache.version;
      for (const objects of view.parts(cache)) {
        const changes = objects.map((object) => ({ type: ObjectChange_Type.TYPE_ADDED, object }));
        // Whoever stops here has not got them all, and has to start again.
        yield { changes, version: '', synced: false };
      }
      yield { changes: [], version: from, synced: true };
    }
    for await (const batch of cache.changesAfter(from, signal)) {
      const changes = batch.changes.flatMap((change) => view.change(change) ?? []);
      yield { changes, version: batch.version, synced: false };
    }
  }

  #cacheOf({ filter: { group, kind, namespace } }: View): SelectionCache {
    return this.#cache.cache(group, kind, namespace);
  }
}

/** What one reader sees of a cache. */
class View {
  readonly filter: messages.ObjectFilter;
  readonly #labels: LabelSelector;
  readonly #mask: FieldMask | undefined;

  constructor(filter: messages.ObjectFilter) {
    this.filter = filter;
    this.#labels = parseLabelSelector(filter.labelSelector);
    this.#mask = filter.fields.length === 0 ? undefined : new FieldMask(filter.fields);
  }

  /** What there is now, in parts for one message each; at least one, so that a reader of an empty list hears its version. */
  parts(cache: SelectionCache): Generator<messages.CachedObject[], void, void> {
    const found = [...cache.objects()].filter((object) => this.#isInNamespace(object) && this.#labels(object.labels));
    return this.#parts(found);
  }

  *#parts(found: readonly CachedObject[]): Generator<messages.CachedObject[], void, void> {
    let part: messages.CachedObject[] = [];
    let bytes = 0;
    for (const object of found) {
      const message = this.message(object);
      if (part.length > 0 && bytes + message.json.length > PART_BYTES) {
        yield part;
        part = [];
        bytes = 0;
      }
      part.push(message);
      bytes += message.json.length;
    }
    yield part;
  }

  /** Undefined for a change that this reader sees nothing of. */
  change({ type, object, labelsBefore }: Change): ObjectChange | undefined {
    if (!this.#isInNamespace(object)) return undefined;
    const was = labelsBefore !== undefined && this.#labels(labelsBefore);
    const is = type !== 'deleted' && this.#labels(object.labels);
    if (!was && !is) return undefined;
    const seen: ChangeType = was && is ? type : is ? 'added' : 'deleted';
    return { type: TYPES[seen], object: this.message(object) };
  }

  message({ namespace, name, uid, resourceVersion, json }: CachedObject): messages.CachedObject {
    return { namespace, name, uid, resourceVersion, json: this.#masked(json) };
  }

  #isInNamespace({ namespace }: CachedObject): boolean {
    return this.filter.namespace === '' || this.filter.namespace === namespace;
  }

  #masked(json: Uint8Array): Buffer {
    const bytes = Buffer.from(json.buffer, json.byteOffset, json.byteLength);
    if (this.#mask === undefined) return bytes;
    return Buffer.from(JSON.stringify(this.#mask.apply(JSON.parse(bytes.toString('utf8')) as Record<string, unknown>)));
  }
}

function required(filter: messages.ObjectFilter | undefined): messages.ObjectFilter {
  if (filter === undefined || filter.kind === '') throw new UserError('filter.kind is missing; name the kind that is wanted');
  return filter;
}
