import { join } from 'node:path';
import { signJwt } from '../../lib/jwt.ts';
import { METHODS, type ProbeCall, probe } from '../../test/compatibility/probe.ts';
import { REFUSALS } from '../../test/compatibility/refusals.ts';
import { replayClient } from '../../test/compatibility/replay-client.ts';
import { TOKEN } from '../../test/compatibility/story.ts';
import { type Call, CallReader } from '../../test/compatibility/wire/calls.ts';
import { blob, blobs, number, numbers, text } from '../../test/compatibility/wire/fields.ts';
import { FrameReader } from '../../test/compatibility/wire/frames.ts';
import {
  bytesOf,
  connectionsOf,
  ofConnection,
  readTranscript,
  type Transcript,
} from '../../test/compatibility/wire/transcript.ts';
import type { RorRequest } from '../gitlab-api/ror-fixture.ts';
import { eventually } from '../kas-fixture.ts';
import { RecordedWorld, TESTDATA } from './testing/recorded-world.ts';

// What kas asks GitLab, beside what kas 13.8 asked it when it was recorded.

const BASE = '/api/v4/internal/kubernetes';

/** The requests on a recording's connections: plain HTTP, one after another. */
function requestsOf(transcript: Transcript): RorRequest[] {
  return connectionsOf(transcript).flatMap((connection) => {
    const text = bytesOf(transcript, connection, 'client').toString('latin1');
    return text.split(/(?=(?:GET|POST) \/\S+ HTTP\/1\.1\r\n)/).map((request) => {
      const [head = '', body = ''] = request.split('\r\n\r\n');
      const [line = '', ...lines] = head.split('\r\n');
      const [method = '', url = ''] = line.split(' ');
      const headers = Object.fromEntries(
        lines.map((one) => one.split(': ')).map(([name = '', value]) => [name.toLowerCase(), value]),
      );
      return { method, url, headers, body };
    });
  });
}

/** The calls on a connection, both directions. */
function callsOf(transcript: Transcript, connection: number): readonly Call[] {
  const reader = new CallReader();
  for (const side of ['client', 'server'] as const)
    for (const frame of new FrameReader(side === 'client').push(bytesOf(transcript, connection, side))) reader.frame(side, frame);
  return reader.calls;
}

/** What GitLab goes by; user agents have the program's own version. */
function shapeOf({ method, url, headers }: RorRequest) {
  const [head = '', payload = ''] = String(headers['gitlab-kas-api-request']).split('.');
  const decoded = (part: string) => JSON.parse(String(Buffer.from(part, 'base64url'))) as Record<string, unknown>;
  const { iss, aud, iat, nbf, exp, ...others } = decoded(payload);
  return {
    method,
    url: url.replace(/gitops_sync_count=\d+/, ''),
    algorithm: decoded(head)['alg'],
    claims: {
      iss,
      aud: [aud].flat(),
      validFor: Math.round(Number(exp) - Number(iat)),
      before: Math.round(Number(iat) - Number(nbf)),
    },
    otherClaims: Object.keys(others),
    authorization: headers.authorization,
    accept: headers.accept,
    contentType: headers['content-type'],
    client: headers['x-gitlab-client-name'],
    userAgent: headers['user-agent']?.split('/')[0],
  };
}

test('kas asks GitLab for what kas 13.8 asked, signed and named the same way', async () => {
  await using world = await RecordedWorld.start({ observabilityYaml: ', usage_reporting_period: 1s' });
  const address = world.kas.address('agentAddress');
  const agents = await readTranscript(join(TESTDATA, 'agentk-to-kas-websocket.jsonl'));
  await replayClient({ address, entries: ofConnection(agents, 1), webSocket: true });
  const refusals = await readTranscript(join(TESTDATA, 'refusals.jsonl'));
  const request = REFUSALS.findIndex(({ name }) => name === 'a request to a module') + 1;
  await replayClient({ address, entries: ofConnection(refusals, request) });

  const recorded = requestsOf(await readTranscript(join(TESTDATA, 'kas-to-rails.jsonl')));
  const wanted = recorded.filter(({ url }) => !url.includes('unknown'));
  expect(new Set(wanted.map(({ method, url }) => `${method} ${url}`))).toEqual(
    new Set([
      `GET ${BASE}/agent_info`,
      `GET ${BASE}/project_info?id=team%2Fshop`,
      `POST ${BASE}/modules/echo/path?q=1&q=2`,
      `POST ${BASE}/usage_metrics`,
    ]),
  );
  for (const then of wanted) {
    const now = await eventually(() =>
      world.rails.requests.find(({ method, url }) => method === then.method && url === then.url),
    );
    expect(shapeOf(now)).toEqual(shapeOf(then));
  }
  const usage = world.rails.requests.find(({ url }) => url.endsWith('/usage_metrics'));
  expect(JSON.parse(usage?.body ?? '')).toEqual({ gitops_sync_count: 1 });
  expect(recorded.find(({ url }) => url.endsWith('/usage_metrics'))?.body).toContain('{"gitops_sync_count":1}');
  expect(TOKEN).toBe(String(wanted[0]?.headers.authorization).replace('Bearer ', ''));
});

/** An agent as GitLab is told of it: the numbers of the fields, and what does not change from run to run. */
function agentsOf(response: Buffer) {
  return blobs(response, 1).map((agent) => {
    const meta = blob(agent, 1);
    return {
      fields: numbers(agent),
      meta: [1, 2, 3, 4].map((field) => text(meta, field)),
      agentId: number(agent, 4),
      projectId: number(agent, 5),
      connectedAt: numbers(blob(agent, 2) ?? Buffer.alloc(0)),
    };
  });
}

test('GitLab is told of connected agents in the fields of kas 13.8, asked with the bytes that it was asked with', async () => {
  await using world = await RecordedWorld.start();
  const transcript = await readTranscript(join(TESTDATA, 'api.jsonl'));
  const names = transcript.entries.flatMap((entry) => ('note' in entry ? [entry.note] : []));
  const connect = REFUSALS.find(({ name }) => name === 'lower-case bearer')?.call as ProbeCall;
  const left = new AbortController();
  const agent = probe(world.kas.address('agentAddress'), { ...connect, leaveAfterMs: 60_000, signal: left.signal });
  await eventually(() => world.kas.line('Agent of GitLab 13.8 connected'));
  const sign = async (options = {}) => `bearer ${await signJwt(world.kas.secret, { issuer: 'gitlab.example.com', ...options })}`;
  const authorizations: Readonly<Record<string, string | undefined>> = {
    'another secret': `bearer ${await signJwt(Buffer.alloc(32), { issuer: 'gitlab.example.com' })}`,
    'another audience': await sign({ audience: 'other' }),
    'no token': undefined,
  };
  for (const [index, name] of names.entries()) {
    const [then] = callsOf(transcript, index + 1);
    const authorization = name in authorizations ? authorizations[name] : await sign();
    const call = { method: METHODS.connectedAgents, requests: then?.requests ?? [], authorization };
    const now = await probe(world.kas.address('apiAddress'), call);
    expect([name, String(now.code)]).toEqual([name, then?.trailers?.['grpc-status']]);
    expect(now.responses.map(agentsOf)).toEqual(then?.responses.map(agentsOf));
  }
  left.abort();
  await agent;
});
