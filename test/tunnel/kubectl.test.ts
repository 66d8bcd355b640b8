import { randomBytes } from 'node:crypto';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { useCluster } from '../harness/cluster.ts';
import { freePort } from '../harness/free-port.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { OTHER_PROJECT, type RunningKubectl, TunnelStack } from './tunnel-stack.ts';

const CONFIGURATION = `user_access:
  access_as: { agent: {} }
  projects: [{ id: ${OTHER_PROJECT} }]
`;
const POD = 'apiVersion: v1\nkind: Pod\nmetadata: { name: pod }\nspec: { containers: [{ name: main, image: none }] }\n';
const TIMEOUT_MS = 120_000;

const cluster = useCluster();
let stack: TunnelStack;
let kubeconfig: string;
let namespace: string;

beforeAll(async () => {
  namespace = await cluster.namespace();
  stack = await TunnelStack.open({ ...cluster, configuration: CONFIGURATION });
  kubeconfig = await stack.kubeconfig(await stack.userToken('ann'));
  await cluster.kubectl(['-n', namespace, 'apply', '-f', '-'], { stdin: POD });
  await cluster.kubectl(['-n', namespace, 'wait', '--for=condition=Ready', '--timeout=60s', 'pod/pod']);
}, TIMEOUT_MS);

afterAll(async () => {
  await stack[Symbol.asyncDispose]();
});

const kubectl = async (args: readonly string[], stdin = '', env: Record<string, string> = {}): Promise<string> =>
  await stack.kubectl(kubeconfig, ['--namespace', namespace, ...args], { stdin, env });

const start = (args: readonly string[], env: Record<string, string> = {}): RunningKubectl =>
  stack.start(kubeconfig, ['--namespace', namespace, ...args], env);

async function prints(running: RunningKubectl, text: string | RegExp): Promise<void> {
  const isPrinted = (): boolean => (typeof text === 'string' ? running.output.includes(text) : text.test(running.output));
  try {
    await waitUntil(isPrinted, { what: `kubectl to print ${text}`, timeoutMs: 30_000 });
  } catch (error) {
    throw new Error(`${(error as Error).message}; it printed: ${running.output}${running.errors}`, { cause: error });
  }
}

/** What kubelets show of every container, see test/controlplane/components.ts. */
async function podPrints(text: string): Promise<void> {
  await appendFile(join(dirname(cluster.kubeconfigPath), 'pod.log'), `${new Date().toISOString()} stdout F ${text}\n`);
}

/** Whether kas noted a request of this end of a path with this protocol. */
async function noted(path: string, protocol: string): Promise<void> {
  const isIt = (line: string): boolean =>
    line.includes('"Request to a cluster"') && line.includes(`${path}"`) && line.includes(`"protocol":"${protocol}"`);
  await waitUntil(() => stack.stack.kas.lines.some(isIt), { what: `a line of ${protocol} to ${path} in kas' log` });
}

test('get, apply, patch and delete work as without kas', async () => {
  const manifest = 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: first }\ndata: { edition: "1" }\n';
  expect(await kubectl(['apply', '-f', '-'], manifest)).toBe('configmap/first created\n');
  expect(await kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], manifest)).toBe(
    'configmap/first serverside-applied\n',
  );
  expect(await kubectl(['get', 'configmap', 'first', '-o', 'jsonpath={.data.edition}'])).toBe('1');
  expect(await kubectl(['patch', 'configmap', 'first', '-p', '{"data":{"edition":"2"}}'])).toBe('configmap/first patched\n');
  expect(await cluster.kubectl(['-n', namespace, 'get', 'configmap', 'first', '-o', 'jsonpath={.data.edition}'])).toBe('2');
  expect(await kubectl(['delete', 'configmap', 'first'])).toMatch(/configmap "first" deleted/);
  await expect(kubectl(['get', 'configmap', 'first'])).rejects.toThrow(
    'Error from server (NotFound): configmaps "first" not found',
  );
});

test('a watch tells changes as they happen', async () => {
  await using watch = start(['get', 'configmaps', '--watch', '--output-watch-events']);
  await prints(watch, /ADDED +kube-root-ca.crt/);
  await cluster.kubectl(['-n', namespace, 'create', 'configmap', 'watched']);
  await prints(watch, /ADDED +watched/);
  await cluster.kubectl(['-n', namespace, 'delete', 'configmap', 'watched']);
  await prints(watch, /DELETED +watched/);
  expect(watch.errors).toBe('');
});

test('logs follow what a container prints', async () => {
  const [first, second] = [randomBytes(8).toString('hex'), randomBytes(8).toString('hex')];
  await podPrints(first);
  await using logs = start(['logs', '-f', 'pod']);
  await prints(logs, first);
  await podPrints(second);
  await prints(logs, second);
  expect(logs.errors).toBe('');
});

describe.each([
  ['websocket', {}],
  ['SPDY/3.1', { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' }],
])('over %s', (protocol, env) => {
  test('exec passes input and output', async () => {
    await using running = start(['exec', '-i', 'pod', '--', 'sh', '-c', 'read line; echo "got $line"; echo wrong >&2'], env);
    running.write('a line\n');
    expect(await running.exited).toBe(0);
    expect(running.output).toBe('got a line\n');
    expect(running.errors).toBe('wrong\n');
    await noted('/pods/pod/exec', protocol);
  });

  test('attach shows what a container prints from then on', async () => {
    const text = randomBytes(8).toString('hex');
    await using running = start(['attach', 'pod'], env);
    // What is printed before the container is attached to is not shown.
    const isShown = async (): Promise<boolean> => {
      await podPrints(text);
      return running.output.includes(text);
    };
    await waitUntil(isShown, { what: `kubectl to print "${text}"`, timeoutMs: 30_000, intervalMs: 200 });
    running.kill();
    await running.exited;
    await noted('/pods/pod/attach', protocol);
    expect(running.output).toContain(text);
  });

  test('a forwarded port carries bytes both ways', async () => {
    const port = await freePort();
    await using running = start(['port-forward', 'pod/pod', `${port}:80`, '--address', '127.0.0.1'], env);
    await prints(running, `Forwarding from 127.0.0.1:${port}`);
    const sent = randomBytes(200_000);
    expect((await echoOf(port, sent)).equals(sent)).toBe(true);
    running.kill();
    await running.exited;
    // With WebSockets kubectl speaks SPDY inside of them.
    await noted('/pods/pod/portforward', protocol);
  });

  test('cp brings files there and back', async () => {
    const content = randomBytes(300_000);
    const [there, back] = [join(stack.folder, 'there'), join(stack.folder, 'back')];
    const name = randomBytes(8).toString('hex');
    await writeFile(there, content);
    await kubectl(['cp', there, `pod:${name}`], '', env);
    await kubectl(['cp', `pod:${name}`, back], '', env);
    expect((await readFile(back)).equals(content)).toBe(true);
  });
});

async function echoOf(port: number, data: Buffer): Promise<Buffer> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.write(data);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= data.length) break;
  }
  return Buffer.concat(chunks);
}

test(
  'a list of 50 MB is the same as without kas',
  async () => {
    const value = randomBytes(700_000).toString('base64');
    const names = Array.from({ length: 55 }, (_, index) => `large-${index}`);
    const manifests = names.map((name) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { value } }));
    await cluster.kubectl(['-n', namespace, 'create', '-f', '-'], {
      stdin: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests }),
    });
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const through = await kubectl(['get', '--raw', path]);
    expect(through.length).toBeGreaterThan(50_000_000);
    expect(withoutVersion(through) === withoutVersion(await cluster.kubectl(['get', '--raw', path]))).toBe(true);
  },
  TIMEOUT_MS,
);

/** The version of a list is that of the whole cluster. */
function withoutVersion(list: string): string {
  return list.replace(/"resourceVersion":"\d+"/, '');
}
