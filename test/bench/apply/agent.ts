import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createBundle } from '../../../lib/bundle.ts';
import type { ControlPlane } from '../../controlplane/control-plane.ts';
import { type Program, startProgram } from '../../harness/process.ts';
import { Feed } from './feed.ts';
import { type Manifest, toBundleObjects } from './manifests.ts';

const CONNECT_TIMEOUT_MS = 60_000;

export interface Applied {
  /** From the last byte of the bundle to the end of apply and prune, as the agent reports it. */
  readonly ms: number;
  readonly created: number;
  readonly pruned: number;
}

/** The real agentk, bundled, as a process of its own, fed with bundles of objects. */
export class Agent implements AsyncDisposable {
  readonly feed: Feed;
  readonly #controlPlane: ControlPlane;
  /** Of its token file, and of the namespace of its inventories. */
  readonly #name: string;
  #program: Program | undefined;
  #commits = 0;

  private constructor(controlPlane: ControlPlane, feed: Feed, name: string) {
    this.#controlPlane = controlPlane;
    this.feed = feed;
    this.#name = name;
  }

  static async start(controlPlane: ControlPlane, units: readonly string[]): Promise<Agent> {
    const name = `bench-agent-${randomBytes(4).toString('hex')}`;
    await writeFile(join(controlPlane.directory, name), randomBytes(32).toString('hex'), { mode: 0o600 });
    const agent = new Agent(controlPlane, await Feed.start(), name);
    agent.feed.configure(units);
    try {
      await agent.#start();
    } catch (error) {
      await agent[Symbol.asyncDispose]();
      throw error;
    }
    return agent;
  }

  /** A new process in place of the one that runs; it gets its bundles as after any restart. */
  async restart(): Promise<void> {
    await this.#program?.stop();
    await this.#start();
  }

  /** A new commit of the unit; resolves when the last byte of its bundle is on its way. */
  async submit(unit: string, manifests: readonly Manifest[]): Promise<{ readonly sentAt: number; readonly commitId: string }> {
    this.#commits += 1;
    const commitId = this.#commits.toString(16).padStart(40, '0');
    const bundle = createBundle(toBundleObjects(manifests));
    const project = `bench/${unit}`;
    const source = { project, sourceId: '', commitId, detectedAt: new Date() };
    const sentAt = await this.feed.deliver({ unit, ...source, bundle, incomplete: false });
    return { sentAt, commitId };
  }

  async apply(unit: string, manifests: readonly Manifest[], signal: AbortSignal): Promise<Applied> {
    const { sentAt, commitId } = await this.submit(unit, manifests);
    const { finishedAt, objects = [] } = await this.feed.finished(unit, commitId, signal);
    const count = (action: string): number => objects.filter((object) => object.action === action).length;
    return { ms: (finishedAt?.getTime() ?? Number.NaN) - sentAt, created: count('created'), pruned: count('pruned') };
  }

  get pid(): number {
    return this.#running().pid;
  }

  /** What the process holds in memory now, and the most it ever held, in MiB. */
  async memory(): Promise<{ readonly rss: number; readonly peak: number }> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8');
    const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024;
    return { rss: field('VmRSS'), peak: field('VmHWM') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program?.stop();
    await this.#program?.[Symbol.asyncDispose]();
    await this.feed[Symbol.asyncDispose]();
  }

  async #start(): Promise<void> {
    const { kubeconfigPath, directory } = this.#controlPlane;
    const address = `grpc://${this.feed.address}`;
    const flags = ['--kas-address', address, '--token-file', join(directory, this.#name), '--kubeconfig', kubeconfigPath];
    const onLine = (line: string): void =>
      void (/"level":"(warn|error)"/.test(line) && process.stderr.write(`agentk: ${line}\n`));
    this.#program = await startProgram('dist/agentk.js', [...flags, '--namespace', this.#name], { onLine });
    await this.#program.waitForLine(/"msg":"Connected to kas"/, CONNECT_TIMEOUT_MS);
  }

  #running(): Program {
    if (this.#program === undefined) throw new Error('agentk was not started');
    return this.#program;
  }
}
