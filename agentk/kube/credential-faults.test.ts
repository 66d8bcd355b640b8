import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { useCluster } from '../../test/harness/cluster.ts';
import { ConnectProxy } from '../../test/harness/connect-proxy.ts';
import { FaultProxy, refusal } from '../../test/harness/fault-proxy.ts';
import { createTempDir, type TempDir } from '../../test/harness/temp-dir.ts';
import type { KubeCluster } from './kube-cluster.ts';
import { applyMany, expectAllThere, MANY, reached } from './testing/many-applies.ts';
import { openCluster } from './testing/open-cluster.ts';

/** Thousands of requests on a machine that has other things to do. */
const MANY_TIMEOUT_MS = 300_000;

describe('KubeCluster while what it proves itself with, or trusts, is exchanged', () => {
  const shared = useCluster();
  let directory: TempDir;
  let proxy: FaultProxy;
  let namespace: string;
  let tokens: readonly string[];

  beforeEach(async () => {
    directory = await createTempDir();
    proxy = await FaultProxy.listen(shared.kubeconfigPath);
    namespace = await shared.namespace();
    await shared.kubectl(['-n', namespace, 'create', 'serviceaccount', 'agentk']);
    const subject = `--serviceaccount=${namespace}:agentk`;
    await shared.kubectl(['-n', namespace, 'create', 'rolebinding', 'agentk', '--clusterrole=admin', subject]);
    tokens = await Promise.all([createToken(), createToken(), createToken()]);
  });

  afterEach(async () => {
    await proxy[Symbol.asyncDispose]();
    await directory.remove();
  });

  async function createToken(): Promise<string> {
    return (await shared.kubectl(['-n', namespace, 'create', 'token', 'agentk'])).trim();
  }

  /** The proxy's kubeconfig with another user or another way to the server. */
  async function kubeconfig(user: object | undefined, cluster: object = {}): Promise<string> {
    const config = JSON.parse(await readFile(proxy.kubeconfigPath, 'utf8'));
    if (user !== undefined) config.users = [{ ...config.users[0], user }];
    config.clusters[0].cluster = { ...config.clusters[0].cluster, ...cluster };
    const file = join(directory.path, 'kubeconfig');
    await writeFile(file, JSON.stringify(config), { mode: 0o600 });
    return file;
  }

  /** From now on the server does not know the token any more. */
  function revoke(token: string | undefined): void {
    proxy.on({ headers: { authorization: `Bearer ${token}` } }, refusal(401, 'Unauthorized', 'Unauthorized'));
  }

  async function open(file: string): Promise<KubeCluster> {
    // A busy machine takes its time for a handshake.
    return (await openCluster(file, { retryForMs: 60_000 })).cluster;
  }

  it(
    'applies each of 2,000 once while the token file is rotated twice',
    async () => {
      const tokenFile = join(directory.path, 'token');
      const rotate = async (index: number): Promise<void> => {
        await writeFile(tokenFile, `${tokens[index]}\n`, { mode: 0o600 });
        if (index > 0) revoke(tokens[index - 1]);
      };
      await rotate(0);
      await using cluster = await open(await kubeconfig({ tokenFile }));
      const applied = await applyMany(cluster, namespace, { 600: () => rotate(1), 1_300: () => rotate(2) });
      await expectAllThere(cluster, namespace, applied);
      expect(reached(proxy, namespace)).toBe(MANY);
      expect(proxy.count({ headers: { authorization: `Bearer ${tokens[2]}` }, passed: true })).toBeGreaterThan(0);
    },
    MANY_TIMEOUT_MS,
  );

  it(
    'applies each of 2,000 once while the credentials of a plugin expire',
    async () => {
      const current = join(directory.path, 'current');
      const plugin = join(directory.path, 'plugin.mjs');
      await writeFile(
        plugin,
        `#!${process.execPath}
       import { readFileSync } from 'node:fs';
       const status = {
         token: readFileSync(${JSON.stringify(current)}, 'utf8'),
         expirationTimestamp: new Date(Date.now() + 1000).toISOString(),
       };
       console.log(JSON.stringify({ kind: 'ExecCredential', apiVersion: 'client.authentication.k8s.io/v1', status }));`,
      );
      await chmod(plugin, 0o700);
      const expire = async (index: number): Promise<void> => {
        await writeFile(current, tokens[index] ?? '', { mode: 0o600 });
        if (index > 0) revoke(tokens[index - 1]);
      };
      await expire(0);
      const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: plugin, interactiveMode: 'Never' };
      await using cluster = await open(await kubeconfig({ exec }));
      const applied = await applyMany(cluster, namespace, { 600: () => expire(1), 1_300: () => expire(2) });
      await expectAllThere(cluster, namespace, applied);
      expect(reached(proxy, namespace)).toBe(MANY);
    },
    MANY_TIMEOUT_MS,
  );

  it(
    'applies each of 2,000 once while the server gets a certificate of another authority',
    async () => {
      await using cluster = await open(proxy.kubeconfigPath);
      const applied = await applyMany(cluster, namespace, {
        700: async () => {
          await proxy.rotateCertificate();
          proxy.cut();
        },
      });
      await expectAllThere(cluster, namespace, applied);
      // What was on its way when the connection broke is sent again, not everything.
      expect(reached(proxy, namespace)).toBeLessThan(MANY + 200);
    },
    MANY_TIMEOUT_MS,
  );

  it(
    'applies each of 2,000 once through an HTTP proxy that breaks its tunnels',
    async () => {
      await using tunnel = await ConnectProxy.listen();
      await using cluster = await open(await kubeconfig(undefined, { 'proxy-url': `http://127.0.0.1:${tunnel.port}` }));
      const applied = await applyMany(cluster, namespace, { 500: () => tunnel.cut(), 1_300: () => tunnel.cut() });
      await expectAllThere(cluster, namespace, applied);
      expect(new Set(tunnel.asked.map(({ target }) => target))).toEqual(new Set([`127.0.0.1:${proxy.port}`]));
      expect(tunnel.asked.length).toBeGreaterThanOrEqual(3);
    },
    MANY_TIMEOUT_MS,
  );
});
