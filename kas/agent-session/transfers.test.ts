import { type Bundle, contentDigest, createBundle } from '../../lib/bundle.ts';
import { ConnectResponse } from '../../proto/gen/kas/agent/v1/session.ts';
import type { UnitBundle } from './bundle-stream.ts';
import { type Transfer, Transfers } from './transfers.ts';

const never = (): void => undefined;

function bundle(...contents: string[]): Bundle {
  return createBundle(
    contents.map((text, index) => {
      const content = Buffer.from(text);
      const id = { group: '', kind: 'ConfigMap', namespace: '', name: `n${index}` };
      return { id, digest: contentDigest(content), source: 'a.yaml:1', content };
    }),
  );
}

const unit = (target: Bundle, commitId = 'c1'): UnitBundle => ({
  unit: 'shop',
  project: 'team/app',
  commitId,
  detectedAt: new Date(0),
  incomplete: false,
  sourceId: 's1',
  bundle: target,
});

/** The pieces of a transfer, read to its end. */
function pieces(transfer: Transfer | undefined): Buffer[] {
  const read: Buffer[] = [];
  for (let piece = transfer?.next(); piece !== undefined; piece = transfer?.next()) read.push(piece.bytes);
  return read;
}

function messages(bytes: readonly Buffer[]): string[] {
  const kinds: string[] = [];
  for (const piece of bytes) {
    for (let at = 0; at < piece.length; ) {
      const end = at + 5 + piece.readUInt32BE(at + 1);
      kinds.push(ConnectResponse.decode(piece.subarray(at + 5, end)).message?.$case ?? '');
      at = end;
    }
  }
  return kinds;
}

test('agents that lack the same are sent the same bytes, not copies', () => {
  const transfers = new Transfers(1 << 20);
  const target = unit(bundle('one', 'two'));
  const first = pieces(transfers.open(target, undefined, never));
  const second = pieces(transfers.open({ ...target }, undefined, never));
  expect(first).toHaveLength(1);
  expect(second[0]).toBe(first[0]);
  expect(messages(first)).toEqual(['bundleHeader', 'bundleChunk', 'bundleTrailer']);
});

test('what an agent holds, and another commit, make another transfer', () => {
  const transfers = new Transfers(1 << 20);
  const [before, after] = [bundle('one', 'two'), bundle('one', 'three')];
  const whole = transfers.open(unit(after), undefined, never);
  const difference = transfers.open(unit(after), before, never);
  const nothing = transfers.open(unit(after), after, never);
  expect([whole?.how, difference?.how, nothing?.how]).toEqual(['whole', 'difference', 'unchanged']);
  expect(messages(pieces(nothing))).toEqual(['bundleHeader']);
  expect(difference?.contentBytes).toBe('three'.length);
  const [bytes] = pieces(transfers.open(unit(after, 'c2'), undefined, never));
  expect(bytes).not.toEqual(pieces(whole)[0]);
});

test('what is kept is bounded, and what somebody reads stays', () => {
  const transfers = new Transfers(10_000);
  const read = transfers.open(unit(bundle('x'.repeat(900))), undefined, never);
  for (let commit = 0; commit < 50; commit += 1) {
    const transfer = transfers.open(unit(bundle(`${commit} ${'y'.repeat(900)}`), `c${commit}`), undefined, never);
    pieces(transfer);
    transfer?.close();
    expect(transfers.bytes).toBeLessThanOrEqual(10_000);
  }
  expect(messages(pieces(read))).toEqual(['bundleHeader', 'bundleChunk', 'bundleTrailer']);
});

test('a large bundle is made piece by piece, for few at a time; others are called when it is their turn', () => {
  const transfers = new Transfers(1_000);
  const target = unit(bundle(...Array.from({ length: 8 }, (_, index) => `${index}${'z'.repeat(100_000)}`)));
  const open: Transfer[] = [];
  let called = 0;
  const free = (): void => {
    called += 1;
  };
  for (let transfer = transfers.open(target, undefined, free); transfer !== undefined; ) {
    open.push(transfer);
    transfer = transfers.open(target, undefined, free);
  }
  expect(open.length).toBeGreaterThan(1);
  expect(transfers.bytes).toBe(0);
  const [first] = open;
  expect(pieces(first).length).toBeGreaterThan(3);
  expect(called).toBe(0);
  first?.close();
  expect(called).toBe(1);
  expect(transfers.open(target, undefined, free)).toBeDefined();
});
