import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { useCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { OTHER_PROJECT, TunnelStack } from './tunnel-stack.ts';

const CONFIGURATION = `user_access:
  access_as: { agent: {} }
  projects: [{ id: ${OTHER_PROJECT} }]
`;
const WAIT = { timeoutMs: 30_000 };

const cluster = useCluster();
let stack: TunnelStack;
let kubeconfig: string;
let namespace: string;

beforeAll(async () => {
  namespace = await cluster.namespace();
  stack = await TunnelStack.open({ ...cluster, configuration: CONFIGURATION });
  kubeconfig = await stack.kubeconfig(await stack.userToken('ann'));
}, 120_000);

afterAll(async () => {
  await stack[Symbol.asyncDispose]();
});

const kubectl = async (args: readonly string[], stdin = ''): Promise<string> =>
  await stack.kubectl(kubeconfig, ['--namespace', namespace, ...args], { stdin });

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
