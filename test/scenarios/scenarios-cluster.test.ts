import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { type ControlPlane, startControlPlane } from '../harness/cluster.ts';
import { scenarioFiles } from './scenario-file.ts';
import { runScenarios, type SuiteCluster, scenarios } from './scenario-suite.ts';

const entries = await scenarios(await scenarioFiles(), 'cluster');
const NEVER = new AbortController().signal;
const START_TIMEOUT_MS = 30 * 60_000;

/** Nobody else uses it: it goes with all that is in it. */
class OwnControlPlane implements SuiteCluster {
  #plane: ControlPlane | undefined;

  async start(): Promise<void> {
    this.#plane = await startControlPlane({ nodes: 1 }, NEVER);
  }

  async stop(): Promise<void> {
    await this.#plane?.stop();
  }

  get own(): ControlPlane {
    if (this.#plane === undefined) throw new Error('the control plane was not started');
    return this.#plane;
  }

  get kubeconfigPath(): string {
    return this.own.kubeconfigPath;
  }

  async namespace(): Promise<string> {
    const name = `test-${randomBytes(5).toString('hex')}`;
    const args = ['--kubeconfig', this.kubeconfigPath, 'create', 'namespace', name];
    await promisify(execFile)(this.own.kubectlPath, args);
    return name;
  }
}

describe('A cluster in trouble', () => {
  const cluster = new OwnControlPlane();
  beforeAll(async () => await cluster.start(), START_TIMEOUT_MS);
  afterAll(async () => await cluster.stop());
  runScenarios(entries, cluster);
});
