import { createHash, hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { toError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Cluster, LiveObject, ObjectRef } from '../../kube/cluster.ts';
import { STATE_OF } from '../desired/labels.ts';
import { CONFIG_MAPS, parentName } from '../inventory/inventory.ts';
import { type Owner, type Remembered, RememberedWriter, readRemembered } from './remembered.ts';

export interface StateStoreDeps {
  readonly cluster: Cluster;
  readonly agentId: number;
  /** Of the ApplySet parents. */
  readonly namespace: string;
  readonly owner: Owner;
  /** uid of the ApplySet parent: what is written goes with it. Undefined while there is none. */
  readonly parentUid: () => string | undefined;
  readonly log: Logger;
}

const KEY = 'state.json.gz';
/** A ConfigMap holds 1 MiB. */
const MAX_BYTES = 900_000;
const MAX_SHARDS = 64;
const AT_ONCE = 200;
/** A ConfigMap of zeros would unpack to a thousand times its size. */
const MAX_TEXT_BYTES = 64 * 2 ** 20;

const pack = promisify(gzip);
const unpack = promisify(gunzip);

/**
 * Where a unit's remembered objects outlive the agent: gzipped JSON in ConfigMaps beside the ApplySet parent, owned by it. An
 * object's name says in which of them it is, so a change writes few of them. Requests fail with a `KubeError`.
 */
export class StateStore {
  readonly #deps: StateStoreDeps;
  readonly #name: string;
  /** Digest of the text that each ConfigMap holds. */
  #written: (string | undefined)[] = [];

  constructor(deps: StateStoreDeps, unit: string) {
    this.#deps = deps;
    this.#name = `${parentName(deps.agentId, unit)}-state`;
  }

  /** One list. What cannot be read is left out: those objects are compared with Git in another way. */
  async load(signal: AbortSignal): Promise<Map<string, Remembered>> {
    const { cluster, namespace, owner } = this.#deps;
    const labelSelector = `${STATE_OF}=${owner.applySetId}`;
    const shards = await cluster.list(CONFIG_MAPS, { namespace, labelSelector }, signal);
    const all = new Map<string, Remembered>();
    for (const shard of shards) {
      const index = this.#indexOf(shard);
      if (index === undefined) continue;
      const text = await this.#read(shard);
      // Also what cannot be read is there, and has to be written over.
      this.#written[index] = text === undefined ? '' : digestOf(text);
      if (text === undefined) continue;
      try {
        for (const [key, object] of readRemembered(owner, text)) all.set(key, object);
      } catch (error) {
        this.#unreadable(shard, error);
      }
    }
    return all;
  }

  /** The cluster was set back: what was written may not be there. */
  distrust(): void {
    this.#written = this.#written.map(() => '');
  }

  /** Writes what differs from what was written before; nothing while there is no ApplySet parent. */
  async save(objects: Iterable<readonly [key: string, object: Remembered]>, signal: AbortSignal): Promise<void> {
    if (this.#deps.parentUid() === undefined) return;
    const sorted = [...objects].toSorted(([a], [b]) => (a < b ? -1 : 1));
    for (let count = Math.max(1, this.#written.length); count <= MAX_SHARDS; count *= 2) {
      const shards = await this.#shards(sorted, count);
      if (shards === undefined) continue;
      for (const shard of shards) await this.#write(shard, signal);
      return;
    }
    this.#deps.log.warn('Objects are too many to be remembered over a restart', { objects: sorted.length });
  }

  /** Those to write; undefined when one of `count` would be too big. */
  async #shards(objects: readonly (readonly [string, Remembered])[], count: number): Promise<readonly Shard[] | undefined> {
    const parts: (readonly [string, Remembered])[][] = Array.from({ length: count }, () => []);
    for (const object of objects) parts[count === 1 ? 0 : shardOf(object[0], count)]?.push(object);
    const shards: Shard[] = [];
    for (const [index, part] of parts.entries()) {
      const text = await this.#text(part);
      const digest = digestOf(text);
      if (digest === this.#written[index]) continue;
      const packed = await pack(text);
      if (packed.length > MAX_BYTES) return undefined;
      shards.push({ index, digest, packed });
    }
    return shards;
  }

  /** Leaves time for other work in between: there may be thousands. */
  async #text(objects: readonly (readonly [string, Remembered])[]): Promise<string> {
    const writer = new RememberedWriter(this.#deps.owner);
    for (const [index, [key, object]] of objects.entries()) {
      if (index % AT_ONCE === AT_ONCE - 1) await setImmediate();
      writer.add(key, object);
    }
    return writer.text();
  }

  async #write({ index, digest, packed }: Shard, signal: AbortSignal): Promise<void> {
    const { cluster, namespace, owner, parentUid } = this.#deps;
    const name = `${this.#name}-${index}`;
    const parent = { apiVersion: 'v1', kind: 'ConfigMap', name: this.#name.slice(0, -'-state'.length), uid: parentUid() };
    const body = JSON.stringify({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, namespace, labels: { [STATE_OF]: owner.applySetId }, ownerReferences: [parent] },
      binaryData: { [KEY]: packed.toString('base64') },
    });
    this.#written[index] = '';
    const ref: ObjectRef = { type: CONFIG_MAPS, namespace, name };
    await cluster.apply(ref, body, { fieldManager: owner.fieldManager, force: true }, signal);
    this.#written[index] = digest;
  }

  async #read(shard: LiveObject): Promise<string | undefined> {
    try {
      const packed = (shard['binaryData'] as Record<string, string> | undefined)?.[KEY] ?? '';
      const text = await unpack(Buffer.from(packed, 'base64'), { maxOutputLength: MAX_TEXT_BYTES });
      return text.toString('utf8');
    } catch (error) {
      this.#unreadable(shard, error);
      return undefined;
    }
  }

  #unreadable({ metadata }: LiveObject, error: unknown): void {
    const fields = { configMap: metadata.name, err: toError(error) };
    this.#deps.log.warn('What was remembered of objects cannot be read, they are compared with Git one by one', fields);
  }

  #indexOf({ metadata }: LiveObject): number | undefined {
    const prefix = `${this.#name}-`;
    const index = metadata.name.startsWith(prefix) ? Number(metadata.name.slice(prefix.length)) : Number.NaN;
    return Number.isInteger(index) && index >= 0 && index < MAX_SHARDS ? index : undefined;
  }
}

interface Shard {
  readonly index: number;
  readonly digest: string;
  readonly packed: Buffer;
}

function digestOf(text: string): string {
  return hash('sha256', text, 'base64url');
}

function shardOf(key: string, count: number): number {
  return createHash('sha256').update(key).digest().readUInt32BE() % count;
}
