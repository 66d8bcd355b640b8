import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { progressOnStderr } from '../controlplane/binaries.ts';
import { ensureGoProgram } from '../harness/go-program.ts';

export const CHARTS = join(import.meta.dirname, '../../charts');

const FOLDER = join(import.meta.dirname, 'helm');

/** The real helm against a cluster, with nobody's settings, plugins or repositories. */
export class Helm {
  readonly program: string;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(program: string, env: NodeJS.ProcessEnv) {
    this.program = program;
    this.#env = env;
  }

  /** Built at the first use on a machine, which takes minutes. `directory` keeps what helm itself writes. */
  static async open(kubeconfig: string, directory: string): Promise<Helm> {
    const sources = ['go.mod', 'go.sum'];
    const program = { name: 'helm', folder: FOLDER, package: 'helm.sh/helm/v4/cmd/helm', sources, cache: 'helm' };
    const path = await ensureGoProgram(program, progressOnStderr, new AbortController().signal);
    await mkdir(directory, { recursive: true });
    const home = (name: string): string => join(directory, name);
    return new Helm(path, {
      PATH: process.env['PATH'],
      HOME: directory,
      KUBECONFIG: kubeconfig,
      HELM_CACHE_HOME: home('cache'),
      HELM_CONFIG_HOME: home('config'),
      HELM_DATA_HOME: home('data'),
    });
  }

  /** Standard output; rejects with what helm wrote to standard error. */
  async run(...args: readonly string[]): Promise<string> {
    try {
      const options = { env: this.#env, cwd: CHARTS, maxBuffer: 64 << 20 };
      return (await promisify(execFile)(this.program, [...args], options)).stdout;
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
      throw new Error(`helm ${args.join(' ')}: ${stderr.trim()}\n${stdout}`.trim(), { cause: error });
    }
  }
}
