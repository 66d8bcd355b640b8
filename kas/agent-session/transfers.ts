import type { Bundle } from '../../lib/bundle.ts';
import { Frames } from '../../lib/grpc/frames.ts';
import { ConnectResponse } from '../../proto/gen/kas/agent/v1/session.ts';
import { type BundlePart, bundleParts, type UnitBundle } from './bundle-stream.ts';
import { toConnectResponse } from './session-messages.ts';

/** What goes out in one piece, about; a message more than fits may be in it, and it stays below 1 MiB. */
const PIECE_BYTES = 128 << 10;
/** One that is larger is encoded for each of its readers, piece by piece. */
const SHARE_OF_ONE = 1 / 8;
/** Agents that are sent such a one at the same time; each may hold a piece. */
const STREAMED_AT_ONCE = 64;

/** A bundle on its way to one agent. */
export interface Transfer {
  readonly how: 'whole' | 'difference' | 'unchanged';
  /** The next piece; undefined after the last. */
  next(): Frames | undefined;
  /** Bytes of manifests in the pieces so far. */
  readonly contentBytes: number;
  /** Once, when no more pieces are taken. */
  close(): void;
}

interface Shared {
  readonly key: string;
  readonly pieces: readonly Frames[];
  readonly contentBytes: number;
  readonly bytes: number;
  readers: number;
}

/**
 * Bundles in the bytes that go to agents, made once for all agents that lack the same: however slowly they read, they hold
 * one copy. What is kept is bounded: the least recently used leave, and what has no room is made piece by piece for few
 * readers at a time.
 */
export class Transfers {
  readonly #maxBytes: number;
  /** In the order of use. */
  readonly #shared = new Map<string, Shared>();
  readonly #waiting: (() => void)[] = [];
  #bytes = 0;
  #streamed = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * The transfer of `target` to an agent that has `base`; undefined when too many are on their way: `free` is called when
   * it is worth trying again.
   */
  open(target: UnitBundle, base: Bundle | undefined, free: () => void): Transfer | undefined {
    const how = base === undefined ? 'whole' : base.digest === target.bundle.digest ? 'unchanged' : 'difference';
    const shared = this.#find(target, base);
    if (shared !== undefined) return this.#read(shared, how);
    if (this.#streamed >= STREAMED_AT_ONCE) {
      this.#waiting.push(free);
      return undefined;
    }
    return this.#stream(target, base, how);
  }

  #find(target: UnitBundle, base: Bundle | undefined): Shared | undefined {
    const { unit, project, sourceId, commitId, detectedAt, incomplete, bundle } = target;
    const key = JSON.stringify([
      unit,
      project,
      sourceId,
      commitId,
      detectedAt.getTime(),
      incomplete,
      bundle.digest,
      base?.digest ?? '',
    ]);
    const known = this.#shared.get(key);
    if (known !== undefined) {
      this.#shared.delete(key);
      this.#shared.set(key, known);
      return known;
    }
    const made = encode(key, target, base, this.#maxBytes * SHARE_OF_ONE);
    return made !== undefined && this.#keep(made) ? made : undefined;
  }

  #keep(made: Shared): boolean {
    for (const [key, old] of this.#shared) {
      if (this.#bytes + made.bytes <= this.#maxBytes) break;
      if (old.readers > 0) continue;
      this.#shared.delete(key);
      this.#bytes -= old.bytes;
    }
    if (this.#bytes + made.bytes > this.#maxBytes) return false;
    this.#shared.set(made.key, made);
    this.#bytes += made.bytes;
    return true;
  }

  #read(shared: Shared, how: Transfer['how']): Transfer {
    let index = 0;
    shared.readers += 1;
    return {
      how,
      contentBytes: shared.contentBytes,
      next: () => {
        index += 1;
        return shared.pieces[index - 1];
      },
      close: () => {
        shared.readers -= 1;
      },
    };
  }

  #stream(target: UnitBundle, base: Bundle | undefined, how: Transfer['how']): Transfer {
    this.#streamed += 1;
    const content = { bytes: 0 };
    const pieces = piecesOf(bundleParts(target, base), content);
    return {
      how,
      get contentBytes() {
        return content.bytes;
      },
      next: () => {
        const next = pieces.next();
        return next.done === true ? undefined : next.value;
      },
      close: () => {
        this.#streamed -= 1;
        this.#waiting.shift()?.();
      },
    };
  }
}

/** Undefined when it has more than `maxBytes`. */
function encode(key: string, target: UnitBundle, base: Bundle | undefined, maxBytes: number): Shared | undefined {
  const content = { bytes: 0 };
  const pieces: Frames[] = [];
  let bytes = key.length;
  for (const piece of piecesOf(bundleParts(target, base), content)) {
    bytes += piece.bytes.length;
    if (bytes > maxBytes) return undefined;
    pieces.push(piece);
  }
  return { key, pieces, contentBytes: content.bytes, bytes, readers: 0 };
}

function* piecesOf(parts: Iterable<BundlePart>, content: { bytes: number }): Generator<Frames, void, void> {
  let messages: Uint8Array[] = [];
  let bytes = 0;
  for (const part of parts) {
    if (part.type === 'chunk') for (const { data } of part.contents) content.bytes += data.length;
    const message = ConnectResponse.encode(toConnectResponse(part)).finish();
    messages.push(message);
    bytes += message.length;
    if (bytes < PIECE_BYTES) continue;
    yield new Frames(messages);
    messages = [];
    bytes = 0;
  }
  if (messages.length > 0) yield new Frames(messages);
}
