import { execFile } from 'node:child_process';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ControlPlane, startControlPlane, type TestCluster } from '../harness/cluster.ts';
import { freePort } from '../harness/free-port.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { CHARTS, Helm } from './helm.ts';
import { Node } from './node.ts';

const NEVER = new AbortController().signal;
const run = promisify(execFile);

/** Ports that docs/install.md and the charts name. */
const PORTS = { agents: 8150, observability: 8151, api: 8153, gitaly: 8075, http: 8090 } as const;

/**
 * Follows the page word for word. Two things are otherwise than with a cluster that has nodes: pods run as processes here, so
 * that kubectl's exec and port-forward come to `Node`, and as they share one address helm is told free ports of this machine.
 */
describe('docs/install.md', () => {
  let directory: TempDir;
  let controlPlane: ControlPlane;
  let cluster: TestCluster;
  let helm: string;
  const ports = new Map<number, number>();

  beforeAll(async () => {
    directory = await createTempDir();
    // Of its own, since the page names its namespaces.
    controlPlane = await startControlPlane({}, NEVER);
    const { kubeconfigPath, kubectlPath } = controlPlane;
    const kubectl = async (args: readonly string[]): Promise<string> =>
      (await run(kubectlPath, ['--kubeconfig', kubeconfigPath, ...args])).stdout;
    cluster = { kubeconfigPath, kubectlPath, kubectl, namespace: async () => await Promise.reject(new Error('not here')) };
    helm = (await Helm.open(kubeconfigPath, join(directory.path, 'helm'))).program;
    for (const port of Object.values(PORTS)) ports.set(port, await freePort());
  }, 30 * 60_000);

  afterAll(async () => {
    await controlPlane.stop();
    await directory.remove();
  });

  it('leads from nothing to a synced cluster, and back', async () => {
    await createVolumes();
    const bin = await writeCommands();
    const apiServerPort = Number(new URL(controlPlane.server).port);
    const namespaces = ['kas', 'gitops-agent'];
    await using node = new Node({ cluster, namespaces, directory: directory.path, ports, apiServerPort });
    await node.start();
    const work = join(directory.path, 'work');
    await mkdir(work);
    const script = await scriptOf(join(CHARTS, '../docs/install.md'));
    const identity = {
      GIT_AUTHOR_NAME: 'T',
      GIT_AUTHOR_EMAIL: 't@example.test',
      GIT_COMMITTER_NAME: 'T',
      GIT_COMMITTER_EMAIL: 't@example.test',
    };
    const env = {
      ...identity,
      PATH: `${bin}:${process.env['PATH']}`,
      HOME: directory.path,
      KUBECONFIG: cluster.kubeconfigPath,
      NODE_SOCKET: node.socket,
    };
    const { stdout } = await run('bash', ['--norc', '-euo', 'pipefail', '-c', script], { cwd: work, env }).catch(
      (error: Error) => {
        throw new Error(`${error.message}\n${(error as { stdout?: string }).stdout}\n${node.lines.slice(-30).join('\n')}`, {
          cause: error,
        });
      },
    );
    expect(stdout).toMatch(/^production\s+shop\s+Synced/m);
    expect(stdout).toContain('EUR');
    expect(stdout).toContain('namespace "gitops-agent" deleted');
  }, 300_000);

  /** The page's commands in one script, with the choices of this machine. */
  async function scriptOf(page: string): Promise<string> {
    const blocks = [...(await readFile(page, 'utf8')).matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block);
    expect(blocks.length).toBeGreaterThan(5);
    const [choices = '', ...others] = blocks;
    const chosen = choices.replace(/^PORT=\S+/m, `PORT=${await freePort()}`).replace(/^CHARTS=\S+/m, `CHARTS=${CHARTS}`);
    return [chosen, ...others].join('\n');
  }

  /** helm with the ports of this machine; kubectl that asks `Node` what nodes are asked. */
  async function writeCommands(): Promise<string> {
    const bin = join(directory.path, 'bin');
    await mkdir(bin);
    const at = (port: number): string => `127.0.0.1:${ports.get(port)}`;
    const kas = {
      config: {
        agent: { listen: { address: at(PORTS.agents) } },
        api: { listen: { address: at(PORTS.api) } },
        observability: { listen: { address: at(PORTS.observability) } },
      },
      gitserver: {
        config: {
          listen: { grpc: at(PORTS.gitaly), http: at(PORTS.http) },
          notify: { address: `grpc://${at(PORTS.api)}`, secret_file: '/etc/kas/secrets/api/secret' },
        },
      },
      registry: { gitaly_servers: { default: { address: `tcp://${at(PORTS.gitaly)}` } } },
    };
    const agentk = { kas: { address: `grpc://${at(PORTS.agents)}` }, observability: { port: await freePort() } };
    for (const [name, values] of Object.entries({ kas, agentk }))
      await writeFile(join(bin, `${name}.json`), JSON.stringify(values));
    await writeCommand(join(bin, 'helm'), `[ "$1" != install ] || set -- "$@" --values "${bin}/$2.json"\nexec "${helm}" "$@"`);
    const shim = `exec "${process.execPath}" "${join(import.meta.dirname, 'kubectl-on-node.ts')}" "$@"`;
    const asksNode = `for word in "$@"; do case "$word" in exec|port-forward) ${shim};; esac; done`;
    await writeCommand(join(bin, 'kubectl'), `${asksNode}\nexec "${cluster.kubectlPath}" "$@"`);
    return bin;
  }

  async function writeCommand(file: string, lines: string): Promise<void> {
    await writeFile(file, `#!/bin/bash\n${lines}\n`);
    await chmod(file, 0o755);
  }

  /** What a default storage class would make for the chart's claims. */
  async function createVolumes(): Promise<void> {
    for (const claim of ['kas', 'kas-gitserver']) {
      const path = join(directory.path, 'volumes', claim);
      await mkdir(path, { recursive: true });
      const spec = {
        capacity: { storage: '10Gi' },
        accessModes: ['ReadWriteOnce'],
        claimRef: { namespace: 'kas', name: claim },
        hostPath: { path },
      };
      const file = join(directory.path, `${claim}.json`);
      await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: claim }, spec }));
      await cluster.kubectl(['create', '--filename', file]);
    }
  }
});
