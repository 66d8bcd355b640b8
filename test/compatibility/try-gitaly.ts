/**
 * Runs kas on a real Gitaly, and records what Gitaly says, for kas/gitaly/testdata:
 *
 *   node test/compatibility/try-gitaly.ts tcp://HOST:PORT TOKEN STORAGE_FOLDER VERSION
 *
 * STORAGE_FOLDER is that of Gitaly's storage `default`. Repositories are made in it, and removed
 * again; Gitaly remembers their refs, so start it anew before another run.
 */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GitalyClientPool } from '../../kas/gitaly/gitaly-client-pool.ts';
import { CALLS, REPOSITORY, type RecordedCall, recordedLocation } from '../../kas/gitaly/testing/recorded-calls.ts';
import { KasFixture, TestAgent } from '../../kas/kas-fixture.ts';
import { createAgentToken } from '../../kas/registry/agent-tokens.ts';
import { createTempDir } from '../harness/temp-dir.ts';
import { RecordingRelay } from './recording-relay.ts';
import { commitStory } from './story.ts';
import { writeTranscript } from './wire/transcript.ts';

const TESTDATA = join(import.meta.dirname, '../../kas/gitaly/testdata');
const UNLIMITED = {
  globalRateLimit: { refillPerSecond: 1e6, bucketSize: 1e6 },
  perServerRateLimit: { refillPerSecond: 1e6, bucketSize: 1e6 },
};

const [address = '', token = '', storage = '', version = ''] = process.argv.slice(2);
const signal = AbortSignal.timeout(120_000);
const repository = join(storage, REPOSITORY);
/** A manifest of exactly so many bytes. */
const sized = (name: string, bytes: number): string => {
  const head = `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\ndata:\n  value: "`;
  return `${head}${'x'.repeat(bytes - head.length - 2)}"\n`;
};
const BIG = {
  'sized/small.yaml': sized('small', 1 << 10),
  'sized/medium.yaml': sized('medium', 100 << 10),
  'sized/large.yaml': sized('large', 4 << 20),
};

await promisify(execFile)('git', ['init', '--quiet', '--bare', '--initial-branch=main', repository]);
try {
  const commit = await commitStory(
    repository,
    [{ 'a.yaml': 'a: 1\n', 'dir/b.yaml': 'b: 1\n', 'dir/pieces': 'p'.repeat(140_000) }],
    0,
  );
  await record(commit);
  await commitStory(repository, [{}, BIG], 1);
  await measure();
  await sync();
} finally {
  await rm(repository, { recursive: true, force: true });
}

async function record(commit: string): Promise<void> {
  await using relay = await RecordingRelay.listen(address.replace(/^tcp:\/\//, ''));
  const pool = new GitalyClientPool(UNLIMITED);
  const client = pool.repository(recordedLocation(`tcp://${relay.address}`, token));
  for (const { name, run } of CALLS as readonly RecordedCall[]) {
    relay.note(name);
    const outcome = await run(client, commit, signal);
    relay.note(JSON.stringify(outcome));
    process.stdout.write(`${name}: ${JSON.stringify(outcome)}\n`);
  }
  pool.close();
  await mkdir(TESTDATA, { recursive: true });
  const command = 'node test/compatibility/try-gitaly.ts ADDRESS TOKEN STORAGE_FOLDER VERSION';
  const file = join(TESTDATA, `gitaly-${version}.jsonl`);
  await writeTranscript(file, { command, client: 'kas (ours)', server: `Gitaly ${version}`, entries: relay.entries });
}

async function measure(): Promise<void> {
  const pool = new GitalyClientPool(UNLIMITED);
  const client = pool.repository(recordedLocation(address, token));
  for (const [name, content] of Object.entries(BIG)) {
    const startedAt = performance.now();
    const blob = await client.file('refs/heads/main', name, 5 << 20, signal);
    const same = digest(blob?.data) === digest(Buffer.from(content));
    process.stdout.write(`${name}: ${blob?.sizeBytes} bytes, same ${same}, ${(performance.now() - startedAt).toFixed(1)} ms\n`);
    const over = await client.file('refs/heads/main', name, 100, signal);
    process.stdout.write(`  over a limit: data ${over?.data === undefined ? 'left out' : 'read'}, size ${over?.sizeBytes}\n`);
  }
  pool.close();
}

/** kas as a whole: an agent's unit is the three files. */
async function sync(): Promise<void> {
  await using folder = await createTempDir();
  const at = (name: string): string => join(folder.path, name);
  await writeFile(at('token'), token);
  await writeFile(
    at('registry.yaml'),
    `gitaly_servers: { default: { address: "${address}", token_file: token } }
agents: [{ id: 1, name: one, project: team/one }]
projects: [{ path: team/one }, { path: team/recorded, relative_path: "${REPOSITORY}", public: true }]
`,
  );
  const configuration = join(storage, 'team/one.git');
  await promisify(execFile)('git', ['init', '--quiet', '--bare', '--initial-branch=main', configuration]);
  const text = 'gitops: { manifest_projects: [{ id: team/recorded, paths: [{ glob: "sized/*.yaml" }] }] }';
  await commitStory(configuration, [{ '.gitlab/agents/one/config.yaml': text }], 0);
  await using kas = await KasFixture.start({ registryYaml: `registry: { file: "${at('registry.yaml')}" }\n` });
  const startedAt = performance.now();
  const agent = await TestAgent.connect(kas.address('agentAddress'), await createAgentToken(at('registry.yaml'), 'one'));
  await agent.next('bundleTrailer');
  const bytes = agent.received.reduce(
    (sum, { $case, value }) =>
      sum + ($case === 'bundleChunk' ? value.contents.reduce((all, { data }) => all + data.length, 0) : 0),
    0,
  );
  process.stdout.write(`kas sent a unit of ${bytes} bytes after ${(performance.now() - startedAt).toFixed(0)} ms\n`);
  agent[Symbol.dispose]();
  await rm(configuration, { recursive: true, force: true });
}

function digest(data: Buffer | undefined): string {
  return createHash('sha256')
    .update(data ?? '')
    .digest('hex');
}
