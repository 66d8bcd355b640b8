import { Transform } from 'node:stream';
import { repairAuthority } from './authority.ts';

const PREFACE_BYTES = 24;
const FRAME_HEAD_BYTES = 9;
const HEADERS = 1;
const CONTINUATION = 9;
const END_STREAM = 0x1;
const END_HEADERS = 0x4;
const PADDED = 0x8;
const PRIORITY = 0x20;
const PRIORITY_BYTES = 5;
/** The size of frames that every peer takes, RFC 9113, section 4.2. */
const MAX_FRAME_BYTES = 16_384;
/** Of the headers of one call, with what their frames take; Node allows as much. Empty frames count, or they had no end. */
const MAX_BLOCK_BYTES = 64 << 10;

interface Block {
  readonly streamId: number;
  flags: number;
  readonly fragments: Buffer[];
  bytes: number;
}

/** What an HTTP/2 client sends, with `repairAuthority` applied to the headers of its calls. Other frames pass as they come. */
export function repairHeaders(): Transform {
  let pending: Buffer = Buffer.alloc(0);
  let passing = PREFACE_BYTES;
  let block: Block | undefined;

  function* frames(): Generator<Buffer> {
    while (pending.length > 0) {
      if (passing > 0) {
        yield pending.subarray(0, passing);
        const passed = Math.min(passing, pending.length);
        passing -= passed;
        pending = pending.subarray(passed);
        continue;
      }
      if (pending.length < FRAME_HEAD_BYTES) return;
      const length = pending.readUIntBE(0, 3);
      const type = pending[3] as number;
      if (type !== HEADERS && type !== CONTINUATION) {
        passing = FRAME_HEAD_BYTES + length;
        continue;
      }
      if (length > MAX_FRAME_BYTES) throw new Error('a frame of headers is too large');
      if (pending.length < FRAME_HEAD_BYTES + length) return;
      block = extend(block, type, pending.subarray(0, FRAME_HEAD_BYTES + length));
      pending = pending.subarray(FRAME_HEAD_BYTES + length);
      if ((block.flags & END_HEADERS) === 0) continue;
      yield* encode(block);
      block = undefined;
    }
  }

  return new Transform({
    transform(chunk: Buffer, _, done) {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      try {
        for (const frame of frames()) this.push(frame);
        done();
      } catch (error) {
        done(error as Error);
      }
    },
  });
}

function extend(block: Block | undefined, type: number, frame: Buffer): Block {
  const flags = frame[4] as number;
  const streamId = frame.readUInt32BE(5);
  const fragment = type === HEADERS ? withoutPadding(frame, flags) : frame.subarray(FRAME_HEAD_BYTES);
  if ((type === HEADERS) !== (block === undefined)) throw new Error('frames of headers are out of order');
  const extended = block ?? { streamId, flags: flags & END_STREAM, fragments: [], bytes: 0 };
  extended.bytes += FRAME_HEAD_BYTES + fragment.length;
  if (extended.bytes > MAX_BLOCK_BYTES) throw new Error('the headers are too large');
  extended.fragments.push(fragment);
  extended.flags |= flags & END_HEADERS;
  return extended;
}

/** The fragment without what RFC 9113, section 6.2, allows around it. */
function withoutPadding(frame: Buffer, flags: number): Buffer {
  let start = FRAME_HEAD_BYTES;
  let end = frame.length;
  if ((flags & PADDED) !== 0) {
    end -= frame[start] ?? 0;
    start += 1;
  }
  if ((flags & PRIORITY) !== 0) start += PRIORITY_BYTES;
  if (start > end) throw new Error('a frame of headers is too short');
  return frame.subarray(start, end);
}

function* encode({ streamId, flags, fragments }: Block): Generator<Buffer> {
  const data = repairAuthority(Buffer.concat(fragments));
  for (let start = 0; start === 0 || start < data.length; start += MAX_FRAME_BYTES) {
    const piece = data.subarray(start, start + MAX_FRAME_BYTES);
    const head = Buffer.alloc(FRAME_HEAD_BYTES);
    head.writeUIntBE(piece.length, 0, 3);
    head[3] = start === 0 ? HEADERS : CONTINUATION;
    head[4] = (start === 0 ? flags & END_STREAM : 0) | (start + MAX_FRAME_BYTES >= data.length ? END_HEADERS : 0);
    head.writeUInt32BE(streamId, 5);
    yield Buffer.concat([head, piece]);
  }
}
