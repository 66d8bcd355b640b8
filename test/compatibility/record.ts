/**
 * Records what GitLab's original programs of 13.8 say on the wire, for kas/gitlab-agent/testdata:
 *
 *   node test/compatibility/record.ts FOLDER [SCENARIO...]
 *
 * FOLDER has the programs `kas` and `agentk`, built from GitLab's public source (docs/compatibility.md says how). Everything
 * else is ours or played here: the git server, GitLab's internal API, and a control plane. Takes three minutes.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { GitalyFixture, type Repository } from '../../kas/gitaly/gitaly-fixture.ts';
import { RorFixture, repositoryAnswer } from '../../kas/gitlab-api/ror-fixture.ts';
import { signJwt } from '../../lib/jwt.ts';
import { GetConnectedAgentsRequest } from '../../proto/gen/gitlab/agent/agent_tracker/rpc.ts';
import { startControlPlane } from '../controlplane/control-plane.ts';
import { freePort } from '../harness/free-port.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { API_SECRET, OriginalKas } from './original-kas.ts';
import { METHODS, probe } from './probe.ts';
import { RecordingRelay } from './recording-relay.ts';
import { objectsRequest, REFUSALS } from './refusals.ts';
import * as story from './story.ts';
import { startTypedGitaly } from './typed-gitaly.ts';
import { type Call, CallReader } from './wire/calls.ts';
import { FrameReader } from './wire/frames.ts';
import { writeTranscript } from './wire/transcript.ts';
import { WebSocketReader } from './wire/web-socket.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
const TESTDATA = join(CHECKOUT, 'kas/gitlab-agent/testdata');
const ORIGINAL_KAS = 'kas 13.8 (original)';
const ORIGINAL_AGENTK = 'agentk 13.8 (original)';

const [originals = '', ...chosen] = process.argv.slice(2);
const work = await mkdtemp(join(tmpdir(), 'recording-'));
let scenario = '';

/** Repositories at the beginning of the story, the git server, and GitLab. */
class World implements AsyncDisposable {
  readonly gitaly: GitalyFixture;
  readonly rails: RorFixture;
  readonly typed: Awaited<ReturnType<typeof startTypedGitaly>>;
  readonly #configuration: Repository;
  readonly #manifests: Repository;

  private constructor(parts: { gitaly: GitalyFixture; rails: RorFixture; typed: World['typed']; repositories: Repository[] }) {
    this.gitaly = parts.gitaly;
    this.rails = parts.rails;
    this.typed = parts.typed;
    [this.#configuration, this.#manifests] = parts.repositories as [Repository, Repository];
  }

  static async create(): Promise<World> {
    const gitaly = await GitalyFixture.start();
    const repositories = [await gitaly.create(story.CONFIGURATION_PROJECT), await gitaly.create(story.PROJECT)];
    const parts = { gitaly, rails: await RorFixture.start(), typed: await startTypedGitaly(gitaly.folder), repositories };
    const world = new World(parts);
    await world.configuration(0);
    await world.manifests(0);
    world.serve(world.typed.address);
    world.rails.onModule = (request, response) => {
      response.writeHead(201, { 'content-type': 'text/plain', 'x-echo': 'a' });
      request.pipe(response);
    };
    return world;
  }

  /** What GitLab tells of the agent and the project, whose repositories are at that Gitaly. */
  serve(gitaly: string): void {
    const at = { address: `tcp://${gitaly}` };
    const { CONFIGURATION_PROJECT, PROJECT, AGENT_ID, AGENT_NAME, TOKEN } = story;
    const agent = { ...repositoryAnswer(70, CONFIGURATION_PROJECT, at), agent_id: AGENT_ID, agent_name: AGENT_NAME };
    this.rails.agents.set(TOKEN, agent);
    this.rails.projects.set(PROJECT, repositoryAnswer(71, PROJECT, at));
  }

  async configuration(index: number): Promise<void> {
    await story.commitStory(this.#configuration.path, story.CONFIGURATIONS, index);
  }

  async manifests(index: number): Promise<void> {
    await story.commitStory(this.#manifests.path, story.MANIFESTS, index);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.typed[Symbol.asyncDispose]();
    await this.rails[Symbol.asyncDispose]();
    await this.gitaly[Symbol.asyncDispose]();
  }
}

async function kasOf(world: World, options: Partial<Parameters<typeof OriginalKas.start>[0]> = {}): Promise<OriginalKas> {
  const directory = join(work, scenario);
  return await OriginalKas.start({ binary: join(originals, 'kas'), directory, rails: world.rails, ...options });
}

async function save(file: string, relay: RecordingRelay, client: string, server: string): Promise<void> {
  const command = `node test/compatibility/record.ts FOLDER ${scenario}`;
  await mkdir(TESTDATA, { recursive: true });
  await writeTranscript(join(TESTDATA, file), { command, client, server, entries: relay.entries });
  const bytes = relay.entries.reduce((sum, entry) => sum + ('note' in entry ? 0 : entry.data.length), 0);
  process.stdout.write(`${file}: ${relay.entries.length} entries, ${bytes} bytes\n`);
}

/** The calls that the relay has seen so far on a connection. */
function callsOf(relay: RecordingRelay, connection: number, webSocket: boolean): readonly Call[] {
  const calls = new CallReader();
  const frames = { client: new FrameReader(true), server: new FrameReader(false) };
  const sockets = { client: new WebSocketReader(), server: new WebSocketReader() };
  for (const entry of relay.entries) {
    if ('note' in entry || entry.connection !== connection) continue;
    const { from, data } = entry;
    const pieces = webSocket ? sockets[from].push(data) : [data];
    for (const piece of pieces) for (const frame of frames[from].push(piece)) calls.frame(from, frame);
  }
  return calls.calls;
}

function startOriginalAgentk(address: string, kubeconfig: string, tokenFile: string): ChildProcess {
  const args = ['--kas-address', address, '--token-file', tokenFile, '--kubeconfig', kubeconfig];
  return logged(spawn(join(originals, 'agentk'), args, { env: { ...process.env, POD_NAMESPACE: 'ns', POD_NAME: 'pod' } }));
}

function startOurAgentk(address: string, kubeconfig: string, tokenFile: string): ChildProcess {
  const args = ['agentk/main.ts', '--kas-address', address, '--token-file', tokenFile, '--kubeconfig', kubeconfig];
  return logged(spawn(process.execPath, [...args, '--leader-election=false', '--agent-id', '5'], { cwd: CHECKOUT }));
}

function logged(child: ChildProcess): ChildProcess {
  const log = createWriteStream(join(work, `${scenario}-agentk.log`));
  child.stdout?.pipe(log);
  child.stderr?.pipe(log);
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill();
  await once(child, 'exit');
}

interface AgentRun {
  readonly ours: boolean;
  readonly webSocket: boolean;
  readonly file: string;
  /** Follows the story to its second chapter. */
  readonly whole: boolean;
}

async function recordAgent(kubeconfig: string, { ours, webSocket, file, whole }: AgentRun): Promise<void> {
  await using world = await World.create();
  await using kas = await kasOf(world, { webSocket });
  await using relay = await RecordingRelay.listen(kas.agentAddress);
  const tokenFile = join(work, 'token');
  await writeFile(tokenFile, story.TOKEN);
  const address = webSocket ? `ws://${relay.address}/-/kubernetes-agent/` : `grpc://${relay.address}`;
  const child = (ours ? startOurAgentk : startOriginalAgentk)(address, kubeconfig, tokenFile);
  try {
    const connection = ours ? 2 : 1;
    const seen = (
      what: string,
      condition: (objects: readonly Call[], configuration: Call | undefined) => boolean,
    ): Promise<boolean> =>
      waitUntil(
        () => {
          const calls = callsOf(relay, connection, webSocket);
          const of = (method: string): Call[] => calls.filter(({ requestHeaders }) => requestHeaders[':path'] === method);
          return condition(of(METHODS.objects), of(METHODS.configuration)[0]);
        },
        { what, timeoutMs: 90_000, intervalMs: 200 },
      );
    await seen('the first objects', ([first]) => first?.ended === true);
    await seen('the next question', (objects) => objects.length >= 2);
    if (whole) {
      relay.note('manifests 1');
      await world.manifests(1);
      await seen('the second objects', (objects) => objects[1]?.ended === true);
      await seen('the third question', (objects) => objects.length >= 3);
      relay.note('configuration 1');
      await world.configuration(1);
      await seen('the second configuration', (_, configuration) => configuration?.responses.length === 2);
      await seen('a question for other paths', (objects) => objects[3]?.ended === true);
    }
    await delay(500);
    relay.note('the agent stops');
  } finally {
    await stop(child);
  }
  await delay(300);
  await save(file, relay, ours ? 'agentk (ours)' : ORIGINAL_AGENTK, ORIGINAL_KAS);
}

async function recordRefusals(): Promise<void> {
  await using world = await World.create();
  await using kas = await kasOf(world);
  await using relay = await RecordingRelay.listen(kas.agentAddress);
  for (const { name, rails, call } of REFUSALS) {
    relay.note(name);
    world.rails.unknownToken = rails === 403 ? 403 : 401;
    world.rails.trouble = rails === 500 ? { status: 500, body: '<html>', headers: { 'content-type': 'text/html' } } : undefined;
    const { code, details, responses } = await probe(relay.address, call);
    process.stdout.write(`  ${name}: ${code} ${details} (${responses.length} responses)\n`);
    await delay(100);
  }
  // A Gitaly that says "blob" once: the original fails after its headers.
  world.serve(`127.0.0.1:${world.gitaly.port}`);
  await save('refusals.jsonl', relay, 'probe', ORIGINAL_KAS);
}

async function recordAge(): Promise<void> {
  await using world = await World.create();
  await using kas = await kasOf(world, { maxConnectionAge: '10s' });
  await using relay = await RecordingRelay.listen(kas.agentAddress);
  const call = REFUSALS.find(({ name }) => name === 'lower-case bearer')?.call;
  if (call === undefined) throw new Error('there is no such call');
  const { code } = await probe(relay.address, { ...call, leaveAfterMs: 30_000 });
  process.stdout.write(`  ended with ${code}\n`);
  await save('connection-age.jsonl', relay, 'probe', ORIGINAL_KAS);
}

/** With Redis: connected agents are known, and calls are counted. */
async function recordApi(): Promise<void> {
  await using world = await World.create();
  const port = await freePort();
  const redis = spawn('redis-server', ['--port', String(port), '--save', '', '--bind', '127.0.0.1'], { cwd: work });
  try {
    await delay(1_000);
    await using kas = await kasOf(world, { redis: `redis://127.0.0.1:${port}`, callsPerMinute: 1 });
    await using agents = await RecordingRelay.listen(kas.agentAddress);
    await using api = await RecordingRelay.listen(kas.apiAddress);
    const held = new AbortController();
    const call = REFUSALS.find(({ name }) => name === 'lower-case bearer')?.call;
    if (call === undefined) throw new Error('there is no such call');
    agents.note('the first call of the minute');
    const first = probe(agents.address, { ...call, leaveAfterMs: 30_000, signal: held.signal });
    await delay(2_000);
    agents.note('the second call of the minute');
    const second = await probe(agents.address, call);
    process.stdout.write(`  second call: ${second.code} ${second.details}\n`);
    // The original takes the secret file's bytes as they are.
    const good = `bearer ${await signJwt(Buffer.from(API_SECRET), { issuer: 'gitlab.example.com' })}`;
    const bad = `bearer ${await signJwt(Buffer.from('another'.padEnd(32)), { issuer: 'gitlab.example.com' })}`;
    const other = `bearer ${await signJwt(Buffer.from(API_SECRET), { issuer: 'x', audience: 'other' })}`;
    const by = (request: GetConnectedAgentsRequest['request']): Buffer =>
      Buffer.from(GetConnectedAgentsRequest.encode({ request }).finish());
    const byAgent = by({ $case: 'agentId', value: 5n });
    for (const [name, authorization, request] of [
      ['by agent', good, byAgent],
      ['by project', good, by({ $case: 'projectId', value: 70n })],
      ['nobody', good, by({ $case: 'agentId', value: 6n })],
      ['by nothing', good, by(undefined)],
      ['another secret', bad, byAgent],
      ['another audience', other, byAgent],
      ['no token', undefined, byAgent],
    ] as const) {
      api.note(name);
      const { code, details } = await probe(api.address, { method: METHODS.connectedAgents, requests: [request], authorization });
      process.stdout.write(`  ${name}: ${code} ${details}\n`);
    }
    held.abort();
    await first;
    await save('rate-limit.jsonl', agents, 'probe', ORIGINAL_KAS);
    await save('api.jsonl', api, 'probe', ORIGINAL_KAS);
  } finally {
    redis.kill();
    await once(redis, 'exit');
  }
}

/** What the original kas asks GitLab and Gitaly, for one agent. */
async function recordBehind(): Promise<void> {
  await using world = await World.create();
  await using rails = await RecordingRelay.listen(world.rails.url.host);
  await using gitaly = await RecordingRelay.listen(`127.0.0.1:${world.gitaly.port}`);
  const { address: _, token } = world.gitaly.location('').gitaly;
  world.serve(gitaly.address);
  for (const answers of [world.rails.agents, world.rails.projects])
    for (const answer of answers.values()) (answer['gitaly_info'] as { token: string }).token = token;
  await using kas = await kasOf(world, { railsUrl: `http://${rails.address}` });
  const wanted = ['lower-case bearer', 'a request to a module', 'an unknown project'];
  for (const { name, call } of REFUSALS.filter((refusal) => wanted.includes(refusal.name))) {
    rails.note(name);
    await probe(kas.agentAddress, call);
  }
  const objects = REFUSALS.find(({ name }) => name === '401 for objects')?.call;
  if (objects === undefined) throw new Error('there is no such call');
  rails.note('objects');
  const answer = await probe(kas.agentAddress, { ...objects, authorization: `Bearer ${story.TOKEN}` });
  process.stdout.write(`  a big file of a Gitaly that types the first piece alone: ${answer.code} ${answer.details}\n`);
  rails.note('objects that are small');
  const small = objectsRequest(story.PROJECT, ['/*.json']);
  await probe(kas.agentAddress, { method: METHODS.objects, requests: [small], authorization: `Bearer ${story.TOKEN}` });
  await delay(5_000);
  await save('kas-to-rails.jsonl', rails, ORIGINAL_KAS, "GitLab's internal API, played");
  await save('kas-to-gitaly.jsonl', gitaly, ORIGINAL_KAS, 'kas-gitserver (ours)');
}

const SCENARIOS: Readonly<Record<string, (kubeconfig: string) => Promise<void>>> = {
  agentk: (kubeconfig) => recordAgent(kubeconfig, { ours: false, webSocket: false, file: 'agentk-to-kas.jsonl', whole: true }),
  'agentk-websocket': (kubeconfig) =>
    recordAgent(kubeconfig, { ours: false, webSocket: true, file: 'agentk-to-kas-websocket.jsonl', whole: false }),
  'our-agentk': (kubeconfig) =>
    recordAgent(kubeconfig, { ours: true, webSocket: false, file: 'our-agentk-to-kas.jsonl', whole: true }),
  refusals: recordRefusals,
  age: recordAge,
  api: recordApi,
  behind: recordBehind,
};

const names = chosen.length === 0 ? Object.keys(SCENARIOS) : chosen;
const needsCluster = names.some((name) => name.includes('agentk'));
const cluster = needsCluster ? await startControlPlane({}, AbortSignal.timeout(600_000)) : undefined;
try {
  for (const name of names) {
    scenario = name;
    process.stdout.write(`${name}\n`);
    await SCENARIOS[name]?.(cluster?.kubeconfigPath ?? '');
  }
} finally {
  await cluster?.[Symbol.asyncDispose]();
  if (process.env['KEEP_LOGS'] === undefined) await rm(work, { recursive: true, force: true });
  else process.stdout.write(`${work}\n`);
}
