import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type ControlPlane, startControlPlane } from '../../test/harness/cluster.ts';
import { DelayProxy } from '../../test/harness/delay-proxy.ts';
import { createTempDir } from '../../test/harness/temp-dir.ts';
import { Http2Transport } from './http2-transport.ts';
import { loadKubeConfig } from './kube-config.ts';
import {
  apply,
  configMapBody,
  follow,
  OPTIONS,
  openCluster,
  portOf,
  remove,
  typeOf,
  writeKubeconfigFor,
} from './testing/open-cluster.ts';

/** Forwards to a port of this machine and counts who came. */
class ConnectionCounter implements AsyncDisposable {
  count = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  private constructor(port: number) {
    this.#server = createServer((client) => {
      this.count += 1;
      const target = connect({ host: '127.0.0.1', port });
      for (const socket of [client, target]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => this.#sockets.delete(socket));
      }
      client.pipe(target).pipe(client);
    });
  }

  static async listen(target: number): Promise<ConnectionCounter> {
    const counter = new ConnectionCounter(target);
    counter.#server.listen(0, '127.0.0.1');
    await once(counter.#server, 'listening');
    return counter;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** Applies of ConfigMaps that the API server has counted. */
async function applied(kubeconfig: string): Promise<number> {
  const transport = new Http2Transport(loadKubeConfig({ kubeconfig }), { userAgent: 'test' });
  const { body } = await transport.request({ method: 'GET', path: '/metrics', accept: 'text/plain' }, signal);
  await transport.close();
  const lines = body.toString('utf8').split('\n');
  return lines
    .filter((line) => /^apiserver_request_total\{.*resource="configmaps".*verb="APPLY"/.test(line))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

const signal = new AbortController().signal;

describe('KubeCluster and an API server that sends clients away and is killed', () => {
  let controlPlane: ControlPlane;

  beforeAll(async () => {
    controlPlane = await startControlPlane({ apiServerArgs: ['--goaway-chance=0.02'] }, signal);
  });

  afterAll(async () => await controlPlane.stop());

  it('loses none of 2,000 applies to servers that say GOAWAY, and sends none twice', async () => {
    await using directory = await createTempDir();
    await using counter = await ConnectionCounter.listen(portOf(`server: ${controlPlane.server}`));
    const kubeconfig = await writeKubeconfigFor(counter.port, controlPlane.kubeconfigPath, directory.path);
    const { cluster } = await openCluster(kubeconfig);
    await using _cluster = cluster;
    const type = typeOf(cluster, 'ConfigMap');
    const before = await applied(kubeconfig);
    const results = await Promise.all(
      Array.from({ length: 2_000 }, async (_, index) => {
        const ref = { type, namespace: 'default', name: `item-${index}` };
        return await cluster.apply(ref, configMapBody(ref, {}, { w: 'goaway' }), OPTIONS, signal);
      }),
    );
    expect(results.filter(({ created }) => !created)).toEqual([]);
    expect((await applied(kubeconfig)) - before).toBe(2_000);
    // One request in fifty is told to go away: 40 of 2,000, give or take.
    expect(counter.count).toBeGreaterThan(10);
  });

  it('watches on: lists again when its version has expired meanwhile, and names what is left', async () => {
    await using directory = await createTempDir();
    await using proxy = await DelayProxy.listen({ port: portOf(`server: ${controlPlane.server}`) });
    const kubeconfig = await writeKubeconfigFor(proxy.port, controlPlane.kubeconfigPath, directory.path);
    const { cluster: direct } = await openCluster(controlPlane.kubeconfigPath);
    await using _direct = direct;
    const { cluster, logged } = await openCluster(kubeconfig);
    await using _cluster = cluster;
    await apply(direct, 'default', 'kept', { w: 'killed' });
    await apply(direct, 'default', 'gone', { w: 'killed' });
    await using watch = follow(cluster, 'w=killed');
    await watch.waitFor('SYNCED gone,kept');
    proxy.pause();
    await remove(direct, 'default', 'gone');
    await apply(direct, 'default', 'other', {});
    // A new server has nothing in its watch cache that is older than its start.
    await controlPlane.restartApiServer(signal);
    proxy.cut();
    proxy.resume();
    await watch.waitFor('SYNCED kept');
    expect(logged()).toContain('too old resource version');
    await apply(direct, 'default', 'new', { w: 'killed' });
    await watch.waitFor('ADDED new');
  });

  it('watches on when the server is back', async () => {
    const { cluster } = await openCluster(controlPlane.kubeconfigPath);
    await using _cluster = cluster;
    await apply(cluster, 'default', 'first', { w: 'back' });
    await using watch = follow(cluster, 'w=back');
    await watch.waitFor('SYNCED first');
    await controlPlane.restartApiServer(signal);
    await apply(cluster, 'default', 'second', { w: 'back' });
    await watch.waitFor('ADDED second');
    expect(watch.ended).toBeUndefined();
  });
});
