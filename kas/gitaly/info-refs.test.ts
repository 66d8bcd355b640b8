import fc from 'fast-check';
import { UserError } from '../../lib/errors.ts';
import { parseInfoRefs } from './info-refs.ts';
import { parsePktLines } from './pkt-line.ts';
import { resolveRef } from './resolve-ref.ts';

function packet(payload: string): string {
  return (Buffer.byteLength(payload) + 4).toString(16).padStart(4, '0') + payload;
}

const BANNER = `${packet('# service=git-upload-pack\n')}0000`;
const A = 'a'.repeat(40);
const B = 'b'.repeat(40);
const C = 'c'.repeat(40);

function advertisement(lines: readonly string[], capabilities = 'multi_ack symref=HEAD:refs/heads/main agent=git/2.39'): Buffer {
  const [first = '', ...rest] = lines;
  return Buffer.from(`${BANNER}${packet(`${first}\0${capabilities}\n`)}${rest.map((line) => packet(`${line}\n`)).join('')}0000`);
}

test('refs, peeled tags and the target of HEAD are read', () => {
  const parsed = parseInfoRefs(advertisement([`${A} HEAD`, `${A} refs/heads/main`, `${B} refs/tags/v1`, `${C} refs/tags/v1^{}`]));
  expect([...parsed.refs]).toEqual([
    ['HEAD', A],
    ['refs/heads/main', A],
    ['refs/tags/v1', B],
  ]);
  expect([...parsed.peeled]).toEqual([['refs/tags/v1', C]]);
  expect(parsed.headTarget).toBe('refs/heads/main');
});

test('an empty repository has no refs', () => {
  const parsed = parseInfoRefs(advertisement([`${'0'.repeat(40)} capabilities^{}`], 'agent=git/2.39'));
  expect(parsed.refs.size).toBe(0);
  expect(() => resolveRef(parsed, undefined)).toThrow(/empty/);
  expect(() => resolveRef(parsed, 'refs/heads/main')).toThrow(/empty/);
});

test('a HEAD whose branch is not there has no target', () => {
  const parsed = parseInfoRefs(advertisement([`${A} refs/heads/other`]));
  expect(parsed.headTarget).toBeUndefined();
  expect(resolveRef(parsed, undefined)).toBeUndefined();
});

test('a detached HEAD is the default', () => {
  const parsed = parseInfoRefs(advertisement([`${A} HEAD`, `${B} refs/heads/other`], 'agent=git/2.39'));
  expect(resolveRef(parsed, undefined)).toEqual({ name: 'HEAD', commitId: A });
});

test('object ids of SHA-256 repositories are read', () => {
  const oid = 'd'.repeat(64);
  expect(parseInfoRefs(advertisement([`${oid} HEAD`, `${oid} refs/heads/main`])).refs.get('HEAD')).toBe(oid);
});

test.each([
  ['nothing', ''],
  ['no banner', `${packet(`${A} HEAD\0x\n`)}0000`],
  ['another service', `${packet('# service=git-receive-pack\n')}0000${packet(`${A} HEAD\0x\n`)}0000`],
  ['no flush after the banner', `${packet('# service=git-upload-pack\n')}${packet(`${A} HEAD\0x\n`)}0000`],
  ['no end', `${BANNER}${packet(`${A} HEAD\0x\n`)}`],
  ['no capabilities', `${BANNER}${packet(`${A} HEAD\n`)}0000`],
  ['a short object id', `${BANNER}${packet(`${A.slice(1)} HEAD\0x\n`)}0000`],
  ['no name', `${BANNER}${packet(`${A} \0x\n`)}0000`],
  ['something after the end', `${advertisement([`${A} HEAD`]).toString()}0000`],
  ['a length that is no number', `${BANNER}zzzz`],
  ['a length below four', `${BANNER}0003`],
  ['a cut-off packet', `${BANNER}0032abc`],
])('%s is malformed', (_, text) => {
  expect(() => parseInfoRefs(Buffer.from(text))).toThrow(UserError);
  expect(() => parseInfoRefs(Buffer.from(text))).toThrow(/list of refs is malformed/);
});

test('any payloads survive the framing, and no cut goes unnoticed', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1 }), fc.nat(), (payloads, cut) => {
      const framed = Buffer.concat(
        payloads.flatMap((payload) => [Buffer.from((payload.length + 4).toString(16).padStart(4, '0')), payload]),
      );
      expect([...parsePktLines(framed)].map((line) => Buffer.from(line).toString('hex'))).toEqual(
        payloads.map((payload) => Buffer.from(payload).toString('hex')),
      );
      const ends = new Set<number>([0]);
      let end = 0;
      for (const payload of payloads) ends.add((end += payload.length + 4));
      const length = cut % framed.length;
      expect(countPackets(framed.subarray(0, length))).toBe(ends.has(length) ? [...ends].indexOf(length) : 'malformed');
    }),
  );
});

function countPackets(data: Buffer): number | 'malformed' {
  try {
    return [...parsePktLines(data)].length;
  } catch (error) {
    if (error instanceof UserError) return 'malformed';
    throw error;
  }
}
