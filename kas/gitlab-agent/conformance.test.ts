import { join } from 'node:path';
import { decodeManifest } from '../../lib/manifests/decode-manifest.ts';
import { METHODS } from '../../test/compatibility/probe.ts';
import { REFUSALS } from '../../test/compatibility/refusals.ts';
import { pathOf, type Replayed, replayClient } from '../../test/compatibility/replay-client.ts';
import type { Call, CallReader } from '../../test/compatibility/wire/calls.ts';
import { blob, blobs, number, numbers, text, texts } from '../../test/compatibility/wire/fields.ts';
import { connectionsOf, ofConnection, readTranscript, type Transcript } from '../../test/compatibility/wire/transcript.ts';
import { eventually } from '../kas-fixture.ts';
import { RecordedWorld, TESTDATA } from './testing/recorded-world.ts';

// The client's bytes are those of the original programs, and answers are read by hand (test/compatibility/wire).

const recording = async (file: string): Promise<Transcript> => await readTranscript(join(TESTDATA, file));

function callsTo(reader: CallReader, method: string): Call[] {
  return reader.calls.filter((call) => pathOf(call) === method);
}

/** A configuration as agentk 13.8 understands it: with the defaults that it fills in. */
function configurationOf(response: Buffer) {
  const configuration = blob(response, 1) as Buffer;
  const gitops = blob(configuration, 1);
  const filters = (project: Buffer, field: number) =>
    blobs(project, field).map((filter) => ({ apiGroups: texts(filter, 1), kinds: texts(filter, 2) }));
  return {
    commitId: text(response, 2),
    logLevel: number(blob(blob(configuration, 2) ?? Buffer.alloc(0), 1), 1),
    projects: (gitops === undefined ? [] : blobs(gitops, 1)).map((project) => ({
      id: text(project, 1),
      inclusions: filters(project, 2),
      exclusions: filters(project, 3),
      defaultNamespace: text(project, 4) || 'default',
      paths: blobs(project, 5).length === 0 ? ['**/*.{yaml,yml,json}'] : blobs(project, 5).map((path) => text(path, 1)),
    })),
  };
}

/** Which of the three messages it is, by the number of its field. */
const kindOf = (response: Buffer): number => numbers(response)[0] as number;

/** An answer with objects: the commit, the order of its messages, and what the objects are. */
function objectsOf({ responses }: Call) {
  const pieces = responses.filter((response) => kindOf(response) === 2).map((response) => blob(response, 2) as Buffer);
  const sources = new Map<string, Buffer[]>();
  for (const piece of pieces) {
    const source = text(piece, 1);
    sources.set(source, [...(sources.get(source) ?? []), blob(piece, 2) ?? Buffer.alloc(0)]);
  }
  const objects = [...sources].flatMap(([source, data]) => {
    const { objects, problems } = decodeManifest(source, Buffer.concat(data));
    expect(problems).toEqual([]);
    return objects.map(({ content }) => `${source.replace(/:\d+$/, '')} ${String(content)}`);
  });
  return {
    commitId: text(blob(responses[0] as Buffer, 1), 1),
    order: responses.map(kindOf).join('').replace(/2+/, '2'),
    objects: objects.toSorted(),
    largest: Math.max(...pieces.map((piece) => blob(piece, 2)?.length ?? 0)),
  };
}

/** An answer of a module of GitLab: how its body is cut does not matter. */
function moduleAnswerOf({ responses }: Call) {
  const of = (kind: number) => responses.filter((response) => kindOf(response) === kind).map((response) => blob(response, kind));
  const [head = Buffer.alloc(0)] = of(1);
  const headers = blobs(head, 3).map((entry): [string, string[]] => [text(entry, 1), texts(blob(entry, 2), 1)]);
  return {
    order: responses.map(kindOf).join('').replace(/2+/, '2'),
    status: [number(head, 1), text(head, 2)],
    headers: Object.fromEntries(headers.filter(([name]) => /^(content-type|x-echo)$/i.test(name))),
    body: String(Buffer.concat(of(2).map((part) => blob(part ?? Buffer.alloc(0), 1) ?? Buffer.alloc(0)))),
  };
}

/** Everything of an answer that a client of gRPC goes by. */
function statusOf({ responseHeaders, trailers }: Call) {
  return {
    http: responseHeaders?.[':status'],
    type: responseHeaders?.['content-type']?.replace(/\+proto$/, ''),
    code: trailers?.['grpc-status'],
  };
}

/** As it is meant: characters of it may be written as `%20`. */
const messageOf = ({ trailers }: Call): string =>
  trailers?.['grpc-status'] === '0' ? '' : decodeURIComponent(trailers?.['grpc-message'] ?? '');

function compareConfigurations({ recorded, now }: Replayed): void {
  const [then] = callsTo(recorded, METHODS.configuration);
  const [today] = callsTo(now, METHODS.configuration);
  expect(today?.responses.map(configurationOf)).toEqual(then?.responses.map(configurationOf));
}

function compareObjects({ recorded, now }: Replayed): void {
  const then = callsTo(recorded, METHODS.objects).filter(({ ended }) => ended);
  expect(then.length).toBeGreaterThan(0);
  for (const call of then) {
    const today = now.call(call.streamId) as Call;
    const answer = objectsOf(today);
    expect({ ...answer, largest: 0 }).toEqual({ ...objectsOf(call), largest: 0 });
    expect(answer.order).toBe('123');
    expect(answer.largest).toBeLessThanOrEqual(128 << 10);
    expect(statusOf(today)).toEqual(statusOf(call));
  }
}

let world: RecordedWorld;

beforeEach(async () => {
  world = await RecordedWorld.start();
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

test('agentk 13.8 gets from kas what it got from kas 13.8: configurations, and the objects of each commit', async () => {
  const transcript = await recording('agentk-to-kas.jsonl');
  const address = world.kas.address('agentAddress');
  const onNote = (note: string) => world.commit(note);
  const replayed = await replayClient({ address, entries: ofConnection(transcript, 1), onNote });

  compareConfigurations(replayed);
  compareObjects(replayed);
  const [request] = replayed.recorded.calls;
  expect(request?.requestHeaders).toMatchObject({ 'grpc-encoding': 'gzip', 'user-agent': expect.stringMatching(/^agentk\//) });
  // The big file came in pieces from the original too.
  expect(objectsOf(callsTo(replayed.recorded, METHODS.objects)[0] as Call).largest).toBe(128 << 10);
  expect(world.kas.line('Agent of GitLab 13.8 connected')).toMatchObject({ agent: 'demo', agentId: 5 });
});

test('the same in a WebSocket, with the request that the original makes for it', async () => {
  const transcript = await recording('agentk-to-kas-websocket.jsonl');
  const address = world.kas.address('agentAddress');
  const replayed = await replayClient({ address, entries: ofConnection(transcript, 1), webSocket: true });

  expect(replayed.webSocketAnswer).toMatch(/^HTTP\/1\.1 101 /);
  expect(replayed.webSocketAnswer?.toLowerCase()).toContain('sec-websocket-protocol: ws-tunnel');
  compareConfigurations(replayed);
  compareObjects(replayed);
});

/** What kas answers otherwise, on purpose. */
const DIFFERENT: Readonly<Record<string, { readonly code: string; readonly message: RegExp }>> = {
  'no token': { code: '16', message: /^no agent token/ },
  'another scheme': { code: '16', message: /^malformed credential/ },
  '401': { code: '16', message: /./ },
  '401 for objects': { code: '16', message: /./ },
  '403': { code: '7', message: /./ },
  'no project': { code: '3', message: /^project_id is empty/ },
  'no paths': { code: '3', message: /^paths is empty/ },
  'an empty glob': { code: '3', message: /glob/ },
  'Rails fails, objects': { code: '14', message: /./ },
  'a request without a module': { code: '3', message: /^module_name/ },
  'a request with data first': { code: '3', message: /./ },
  'a request that nobody may make': { code: '16', message: /./ },
  'a method that is not there': { code: '12', message: /./ },
  'a service that is not there': { code: '3', message: /./ },
};

test.each(REFUSALS.map(({ name, rails }, index) => [name, rails, index] as const))(
  'kas answers as kas 13.8 did: %s',
  async (name, rails, index) => {
    const transcript = await recording('refusals.jsonl');
    expect(connectionsOf(transcript)).toHaveLength(REFUSALS.length);
    world.rails.unknownToken = rails === 403 ? 403 : 401;
    world.rails.trouble = rails === 500 ? { status: 500, body: '<html>', headers: { 'content-type': 'text/html' } } : undefined;
    const entries = ofConnection(transcript, index + 1);
    const { recorded, now } = await replayClient({ address: world.kas.address('agentAddress'), entries });
    const [[then], [today]] = [recorded.calls, now.calls] as [Call[], Call[]];
    if (then === undefined || today === undefined) throw new Error('nothing was asked');

    const other = DIFFERENT[name];
    expect(today.trailers?.['grpc-status']).toBe(other?.code ?? then.trailers?.['grpc-status']);
    const message = messageOf(today);
    const agrees = other === undefined ? message === messageOf(then) : other.message.test(message);
    expect({ message, agrees }).toEqual({ message, agrees: true });
    const bodyOf = pathOf(then) === METHODS.makeRequest && other === undefined ? moduleAnswerOf : () => undefined;
    expect(bodyOf(today)).toEqual(bodyOf(then));
  },
);

test('a call ends with OK at the age of its connection, before the connection does', async () => {
  const transcript = await recording('connection-age.jsonl');
  await world[Symbol.asyncDispose]();
  world = await RecordedWorld.start({ listenYaml: ', max_connection_age: 2s' });
  const { recorded, now } = await replayClient({
    address: world.kas.address('agentAddress'),
    entries: ofConnection(transcript, 1),
  });
  expect(recorded.goAways.length).toBeGreaterThan(0);
  expect(recorded.calls[0]?.trailers?.['grpc-status']).toBe('0');
  expect(now.calls[0]?.trailers?.['grpc-status']).toBe('0');
  await eventually(() => world.kas.line('Agent of GitLab 13.8 disconnected'));
});

test('a token that connects too often within a minute is told so in the words of the original', async () => {
  const transcript = await recording('rate-limit.jsonl');
  await world[Symbol.asyncDispose]();
  world = await RecordedWorld.start({ listenYaml: ', connections_per_token_per_minute: 1' });
  const address = world.kas.address('agentAddress');
  const [first, second] = [
    await replayClient({ address, entries: ofConnection(transcript, 1) }),
    await replayClient({ address, entries: ofConnection(transcript, 2) }),
  ];
  expect(first.now.calls[0]?.responses).toHaveLength(1);
  const refusal = ({ calls: [call] }: CallReader) => [call?.trailers?.['grpc-status'], messageOf(call as Call)];
  expect(refusal(second.now)).toEqual(refusal(second.recorded));
});
