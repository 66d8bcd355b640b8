/** Bytes cut into pieces of at most so many bytes, which share their memory. No bytes are no piece. */
export function* pieces<Bytes extends Uint8Array>(bytes: Bytes, pieceBytes: number): Generator<Bytes, void, void> {
  if (bytes.length > 0 && bytes.length <= pieceBytes) yield bytes;
  else for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes) as Bytes;
}
