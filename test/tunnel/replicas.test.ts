import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { useCluster } from '../harness/cluster.ts';
import { freePort } from '../harness/free-port.ts';
import { RedisServer } from '../harness/redis-server.ts';
import { Service } from '../harness/service.ts';
import { freeAddresses } from '../harness/stack-files.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { OTHER_PROJECT, TunnelStack } from './tunnel-stack.ts';

const CONFIGURATION = `user_access:
  access_as: { agent: {} }
  projects: [{ id: ${OTHER_PROJECT} }]
`;
const POD = 'apiVersion: v1\nkind: Pod\nmetadata: { name: pod }\nspec: { containers: [{ name: main, image: none }] }\n';
const TIMEOUT_MS = 120_000;
const WAIT_MS = 60_000;

const cluster = useCluster();
let directory: TempDir;
let redis: RedisServer;
let stack: TunnelStack;
/** The replica that agentk does not know. */
let other: Service;
/** kubectl through it. */
let kubeconfig: string;
let namespace: string;

beforeAll(async () => {
  namespace = await cluster.namespace();
  directory = await createTempDir();
  redis = await RedisServer.start();
  const [first, second] = [await freeAddresses(), await freeAddresses()];
  const [firstPrivate, secondPrivate] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const proxy = `127.0.0.1:${await freePort()}`;
  const secret = join(directory.path, 'private-secret');
  await writeFile(secret, randomBytes(32).toString('base64'));
  const top = `redis: { server: { address: "${redis.address}" } }
private_api: { listen: { address: "${firstPrivate}", authentication_secret_file: ${secret} } }
`;
  const kasYaml = { gitops: '    overrides_file: overrides-1.json\n', top };
  stack = await TunnelStack.open({ ...cluster, configuration: CONFIGURATION, addresses: first, kasYaml });
  const { files } = stack.stack;
  const replaced: readonly (readonly [string, string])[] = [
    [first.kasAgents, second.kasAgents],
    [first.kasApi, second.kasApi],
    [first.kasObservability, second.kasObservability],
    [firstPrivate, secondPrivate],
    [stack.proxy, proxy],
    ['overrides-1', 'overrides-2'],
  ];
  let config = await readFile(files.kasConfig, 'utf8');
  for (const [from, to] of replaced) config = config.replace(from, to);
  const path = join(files.directory, 'kas-2.yaml');
  await writeFile(path, config);
  other = new Service({
    main: 'kas/main.ts',
    args: ['serve', '--config', path],
    ready: /"msg":"kas is ready"/,
    logFile: join(files.directory, 'kas-2.log'),
  });
  await other.start();
  kubeconfig = await stack.kubeconfig(await stack.userToken('ann'), `https://${proxy}`);
  await cluster.kubectl(['-n', namespace, 'apply', '-f', '-'], { stdin: POD });
  await cluster.kubectl(['-n', namespace, 'wait', '--for=condition=Ready', '--timeout=60s', 'pod/pod']);
  // Until the agent has connected and its configuration is known to both.
  const answers = async (): Promise<boolean> =>
    await stack.kubectl(kubeconfig, ['version']).then(
      () => true,
      () => false,
    );
  await waitUntil(answers, { what: 'the agent to be reached through the other replica', timeoutMs: WAIT_MS });
}, TIMEOUT_MS);

afterAll(async () => {
  await other[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
  await directory.remove();
});

const args = (...rest: readonly string[]): string[] => ['--namespace', namespace, ...rest];

test('get and create work through a replica that has not the agent', async () => {
  await stack.kubectl(kubeconfig, args('create', 'configmap', 'first', '--from-literal=edition=1'));
  expect(await stack.kubectl(kubeconfig, args('get', 'configmap', 'first', '-o', 'jsonpath={.data.edition}'))).toBe('1');
  const isNoted = (line: string): boolean => line.includes('"Request to a cluster"') && line.includes('/configmaps/first');
  await waitUntil(() => other.lines.some(isNoted), { what: 'the audit line of the other replica' });
});

test('a watch tells changes as they happen through a replica that has not the agent', async () => {
  await using watch = stack.start(kubeconfig, args('get', 'configmaps', '--watch', '--output-watch-events'));
  const prints = async (text: RegExp): Promise<void> => {
    await waitUntil(() => text.test(watch.output), { what: `kubectl to print ${text}`, timeoutMs: WAIT_MS });
  };
  await prints(/ADDED +kube-root-ca.crt/);
  await cluster.kubectl(args('create', 'configmap', 'watched'));
  await prints(/ADDED +watched/);
  await cluster.kubectl(args('delete', 'configmap', 'watched'));
  await prints(/DELETED +watched/);
  expect(watch.errors).toBe('');
});

test.each([
  ['WebSocket', {}],
  ['SPDY', { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false' }],
])('exec over %s passes input and output through a replica that has not the agent', async (_, env) => {
  const command = ['exec', '-i', 'pod', '--', 'sh', '-c', 'read line; echo "got $line"; echo wrong >&2'];
  await using running = stack.start(kubeconfig, args(...command), env);
  running.write('a line\n');
  expect(await running.exited).toBe(0);
  expect(running.output).toBe('got a line\n');
  expect(running.errors).toBe('wrong\n');
});
