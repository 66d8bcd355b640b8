import { join } from 'node:path';
import { ReplayServer } from '../../test/compatibility/replay-server.ts';
import { CallReader } from '../../test/compatibility/wire/calls.ts';
import { blob, number } from '../../test/compatibility/wire/fields.ts';
import { FrameReader } from '../../test/compatibility/wire/frames.ts';
import { bytesOf, readTranscript, type Transcript } from '../../test/compatibility/wire/transcript.ts';
import { GitalyClientPool } from './gitaly-client-pool.ts';
import { CALLS, recordedLocation } from './testing/recorded-calls.ts';

// What a real Gitaly said when it was recorded by test/compatibility/try-gitaly.ts.

const UNLIMITED = { refillPerSecond: 10_000, bucketSize: 10_000 };
const BLOB = 1n;
const signal = new AbortController().signal;

let transcript: Transcript;
let recorded: CallReader;

beforeAll(async () => {
  transcript = await readTranscript(join(import.meta.dirname, 'testdata/gitaly-15.11.13.jsonl'));
  recorded = new CallReader();
  for (const side of ['client', 'server'] as const)
    for (const frame of new FrameReader(side === 'client').push(bytesOf(transcript, 1, side))) recorded.frame(side, frame);
});

const callsTo = (method: string) => recorded.calls.filter(({ requestHeaders }) => requestHeaders[':path']?.endsWith(method));

test('kas understands what Gitaly says of refs, folders, files and of what is not there', async () => {
  await using gitaly = await ReplayServer.listen(transcript);
  const notes = transcript.entries.flatMap((entry) => ('note' in entry ? [entry.note] : []));
  const pool = new GitalyClientPool({ globalRateLimit: UNLIMITED, perServerRateLimit: UNLIMITED });
  const repository = pool.repository(recordedLocation(`tcp://${gitaly.address}`, 'any'));
  try {
    for (const [index, { name, run }] of CALLS.entries()) {
      const outcome: unknown = await run(repository, 'a'.repeat(40), signal);
      expect([name, JSON.parse(JSON.stringify(outcome))]).toEqual([notes[2 * index], JSON.parse(notes[2 * index + 1] ?? '')]);
    }
  } finally {
    pool.close();
  }
});

test('only the first piece of a file says what it is', () => {
  const [pieces] = callsTo('CommitService/TreeEntry');
  const types = pieces?.responses.map((response) => number(response, 1));
  expect(types?.length).toBeGreaterThan(1);
  expect(types?.map((type) => type === BLOB)).toEqual(types?.map((_, index) => index === 0));
  const data = pieces?.responses.map((response) => blob(response, 5)?.length ?? 0) ?? [];
  expect(data.reduce((sum, length) => sum + length, 0)).toBe(140_000);
});

test('a path that is not there is NOT_FOUND, and no refusal to kas', () => {
  const answers = callsTo('CommitService/TreeEntry').map(({ trailers }) => trailers?.['grpc-status']);
  expect(answers).toContain('5');
});

test('calls carry a token, and of what GitLab says of features those of Gitaly', () => {
  expect(recorded.calls.length).toBe(CALLS.length);
  for (const { requestHeaders } of recorded.calls) {
    expect(requestHeaders['authorization']).toMatch(/^Bearer v2\.[0-9a-f]{64}\.\d+$/);
    expect(requestHeaders['gitaly-feature-recorded']).toBe('true');
    expect(requestHeaders['not-a-feature']).toBeUndefined();
  }
});
