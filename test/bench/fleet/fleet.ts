import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Repository } from '../../../kas/gitaly/gitaly-fixture.ts';
import { createRepository } from '../../../kas/gitserver/create-repository.ts';
import { createServingCertificate } from '../../harness/certificate.ts';
import { isolatedGit } from '../../harness/git.ts';
import { createTempDir, type TempDir } from '../../harness/temp-dir.ts';
import { type FleetPorts, type FleetSettings, freePorts, writeFleet } from './fleet-files.ts';
import { MeasuredProgram } from './measured-program.ts';
import type { Credential, Endpoint } from './protocol.ts';
import { Simulators } from './simulators.ts';

const KAS_READY = /"msg":"kas is ready"/;
const GIT_READY = /"msg":"Ready"/;

export interface FleetOptions {
  readonly agents: FleetSettings['agents'];
  readonly projects: readonly string[];
  readonly simulators: number;
  /** Folder for processor profiles of kas; none are made without. */
  readonly profiles: string | undefined;
}

/** Git server, one kas, and simulated agents, each a process of its own. */
export class Fleet implements AsyncDisposable {
  readonly folder: string;
  readonly simulators: Simulators;
  readonly #ports: FleetPorts;
  readonly #disposables = new AsyncDisposableStack();
  #credentials: readonly Credential[] = [];
  readonly #profiles: string | undefined;
  #ca = '';
  #kas: MeasuredProgram | undefined;

  private constructor(folder: TempDir, ports: FleetPorts, { simulators, profiles }: FleetOptions) {
    this.folder = this.#disposables.use(folder).path;
    this.simulators = this.#disposables.use(new Simulators(simulators));
    this.#ports = ports;
    this.#profiles = profiles;
  }

  /** The git server runs, with the repositories that `fill` makes; kas does not yet. */
  static async start(options: FleetOptions, fill: (fleet: Fleet) => Promise<void>, signal: AbortSignal): Promise<Fleet> {
    const ports = await freePorts();
    const fleet = new Fleet(await createTempDir(), ports, options);
    try {
      const { folder } = fleet;
      fleet.#credentials = await writeFleet({ ...options, folder, ports, pollPeriod: '20s' });
      const { cert, key } = await createServingCertificate();
      fleet.#ca = cert;
      await writeFile(join(folder, 'kas.crt'), cert);
      await writeFile(join(folder, 'kas.key'), key, { mode: 0o600 });
      await fill(fleet);
      const args = ['serve', '--config', join(folder, 'gitserver.yaml')];
      const log = join(folder, 'gitserver.log');
      fleet.#disposables.use(await MeasuredProgram.start('kas/gitserver/main.ts', args, log, GIT_READY, signal));
      return fleet;
    } catch (error) {
      await fleet[Symbol.asyncDispose]();
      throw error;
    }
  }

  get credentials(): readonly Credential[] {
    return this.#credentials;
  }

  get kas(): MeasuredProgram {
    if (this.#kas === undefined) throw new Error('kas was not started');
    return this.#kas;
  }

  /** Starts kas, or starts it again, and tells the agents where it is. */
  async startKas(tls: boolean, signal: AbortSignal): Promise<void> {
    await this.#kas?.stop();
    this.simulators.use(this.#endpoint(tls));
    const args = ['serve', '--config', join(this.folder, tls ? 'kas-tls.yaml' : 'kas.yaml')];
    const profiling = this.#profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${this.#profiles}`];
    this.#kas = await MeasuredProgram.start('kas/main.ts', args, join(this.folder, 'kas.log'), KAS_READY, signal, profiling);
  }

  /** A metric of kas, its labels summed up. */
  async metric(name: string): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${this.#ports.observability}/metrics`);
    const lines = (await response.text())
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
    if (lines.length === 0) throw new Error(`kas has no metric ${name}`);
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  async createRepository(project: string): Promise<Repository> {
    const storage = { name: 'default', path: join(this.folder, 'repositories') };
    await createRepository({ storage, relativePath: `${project}.git` }, new AbortController().signal);
    return new Repository(this.repositoryPath(project));
  }

  /** A copy of a repository as it is. */
  async copyRepository(from: string, to: string): Promise<void> {
    await cp(this.repositoryPath(from), this.repositoryPath(to), { recursive: true });
  }

  /** Moves a branch of a repository as a push does, hooks and all. */
  async pushTo(project: string, refspec: string): Promise<void> {
    const path = this.repositoryPath(project);
    await isolatedGit(path).raw(['push', '--quiet', '--force', path, refspec]);
  }

  repositoryPath(project: string): string {
    return join(this.folder, 'repositories', `${project}.git`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kas?.[Symbol.asyncDispose]();
    await this.#disposables.disposeAsync();
  }

  #endpoint(tls: boolean): Endpoint {
    return { host: '127.0.0.1', port: this.#ports.agents, ca: tls ? this.#ca : undefined };
  }
}
