import { randomBytes } from 'node:crypto';
import { type ClientHttp2Session, connect } from 'node:http2';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ConnectRequest } from '../../proto/gen/kas/agent/v1/session.ts';
import { eventually, KasFixture, TestAgent } from '../kas-fixture.ts';

const CONFIGURATION = `gitops:
  manifest_projects: [{ name: shop, id: team/app, default_namespace: shop, paths: [{ glob: "manifests/*.yaml" }] }]
`;
const STUCK = 60;
const COMMITS = 2;
const FILES = 12;
const FILE_BYTES = 200_000;
const BUNDLE_BYTES = FILES * FILE_BYTES;

/** A session that says hello and reads nothing: what its small window does not take stays with kas. */
function connectStuck(address: string, token: string): ClientHttp2Session {
  const session = connect(`http://${address}`);
  session.on('error', () => undefined);
  const headers = {
    ':method': 'POST',
    ':path': '/kas.agent.v1.Session/Connect',
    'content-type': 'application/grpc',
    te: 'trailers',
  };
  const stream = session.request({ ...headers, authorization: `Bearer ${token}` });
  stream.on('error', () => undefined);
  const meta = { version: '1', commitId: '', podNamespace: '', podName: '', kubernetesVersion: '' };
  const hello = ConnectRequest.encode({ message: { $case: 'hello', value: { meta, held: [] } } }).finish();
  const head = Buffer.alloc(5);
  head.writeUInt32BE(hello.length, 1);
  stream.write(Buffer.concat([head, hello]));
  return session;
}

/** Bytes of buffers in use in this process. */
function bufferBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().arrayBuffers;
}

test('sessions that do not read hold one copy of what they wait for, and keep nobody waiting', async () => {
  await using kas = await KasFixture.start({
    listenYaml: `, connections_per_token_per_minute: ${2 * STUCK}, max_streams_per_agent: ${2 * STUCK}`,
  });
  const configurations = await kas.gitaly.create('team/one');
  await configurations.push({ '.gitlab/agents/one/config.yaml': CONFIGURATION });
  const app = await kas.gitaly.create('team/app');
  const push = async (): Promise<string> =>
    await app.push(
      Object.fromEntries(
        Array.from({ length: FILES }, (_, index) => [
          `manifests/${index}.yaml`,
          `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: n${index} }\ndata: { value: ${randomBytes(FILE_BYTES / 2).toString('hex')} }\n`,
        ]),
      ),
    );
  await push();
  const address = kas.address('agentAddress');
  const token = await kas.token('one');
  using reader = await TestAgent.connect(address, token);
  await reader.next('bundleTrailer');
  const before = bufferBytes();
  const stuck = Array.from({ length: STUCK }, () => connectStuck(address, token));
  await eventually(() => (kas.lines.filter(({ msg }) => msg === 'Agent connected').length > STUCK ? true : undefined));
  for (let count = 0; count < COMMITS; count += 1) {
    const commit = await push();
    const { digest } = await reader.next('bundleHeader', ({ commitId }) => commitId === commit);
    await reader.next('bundleTrailer', (trailer) => trailer.digest.equals(digest));
  }
  // The agent that reads keeps all it got; kas has files, bundles and their bytes in caches.
  expect((bufferBytes() - before) / BUNDLE_BYTES).toBeLessThan(STUCK / 2);
  for (const session of stuck) session.destroy();
}, 120_000);
