import { repairAuthority } from './authority.ts';
import { decodeHuffman } from './huffman.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** A literal with incremental indexing and the static name `:authority`, its value as it is. */
function authority(text: string): Buffer {
  const length = text.length < 0x7f ? [text.length] : [0x7f, text.length - 0x7f];
  return Buffer.concat([Buffer.from([0x41, ...length]), Buffer.from(text)]);
}

test('the examples of RFC 7541, appendix C, are read and left alone', () => {
  // C.3.1, C.4.1 to C.4.3: without and with Huffman coding, literals and indexes.
  const blocks = [
    '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
    '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
    '8286 84be 5886 a8eb 1064 9cbf',
    '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
  ];
  for (const block of blocks) expect(repairAuthority(hex(block))).toEqual(hex(block));
  expect(decodeHuffman(hex('f1e3c2e5f23a6ba0ab90f4ff'))).toBe('www.example.com');
});

test('the URL of an agent of GitLab 13.8 becomes an authority of the same length; what is around it stays', () => {
  const url = 'ws://127.0.0.1:8150/-/kubernetes-agent/';
  const before = hex('8386 4582 62a1');
  const after = hex('5f 10 6170706c69636174696f6e2f67727063 be');
  const repaired = repairAuthority(Buffer.concat([before, authority(url), after]));
  expect(repaired).toEqual(Buffer.concat([before, authority('ws:--127.0.0.1:8150---kubernetes-agent-'), after]));
});

test('it does so for Huffman coded ones, which stay without it', () => {
  const coded = hex('41 85 f1e3c2ec7f');
  expect(decodeHuffman(hex('f1e3c2ec7f'))).toBe('www./');
  expect(repairAuthority(coded)).toEqual(authority('www.-'));
});

test('long ones keep their length', () => {
  const text = `wss://${'a'.repeat(130)}/`;
  expect(repairAuthority(authority(text))).toEqual(authority(text.replaceAll('/', '-')));
});

test.each(['41', '410f7777', 'ffffffffffffff', '41ff8080808080', '40'])('a broken block %s is an error', (block) => {
  expect(() => repairAuthority(hex(block))).toThrow(/headers/);
});
