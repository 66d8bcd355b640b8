import { once } from 'node:events';
import { repairHeaders } from './repair-headers.ts';

const HEADERS = 1;
const CONTINUATION = 9;
const END_HEADERS = 4;

function frame(type: number, flags: number, content = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(content.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(1, 5);
  return Buffer.concat([head, content]);
}

/** `:method: GET` of HPACK's static table. */
const METHOD = Buffer.from([0x82]);

test('headers in several frames come out as one block', async () => {
  const stream = repairHeaders();
  stream.write(Buffer.concat([Buffer.alloc(24), frame(HEADERS, 0, METHOD), frame(CONTINUATION, END_HEADERS, METHOD)]));
  stream.end();
  const out = Buffer.concat(await stream.toArray());
  expect(out.subarray(24)).toEqual(frame(HEADERS, END_HEADERS, Buffer.concat([METHOD, METHOD])));
});

test('headers that go on in empty frames for ever are refused', async () => {
  const stream = repairHeaders();
  const failed = once(stream, 'error');
  const empty = Array.from({ length: 10_000 }, () => frame(CONTINUATION, 0));
  stream.write(Buffer.concat([Buffer.alloc(24), frame(HEADERS, 0, METHOD), ...empty]));
  expect(await failed).toEqual([new Error('the headers are too large')]);
});
