import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { Stack } from '../harness/stack.ts';
import { freeAddresses, type StackAddresses, type StackTenant } from '../harness/stack-files.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';

/** Far beyond the time of a scenario: what is seen sooner came by a notification. */
const POLL_PERIOD_MS = 60_000;

/** One git server and one kas for all scenarios of a test file; every agent of every scenario has a project of its own. */
export class Fleet implements AsyncDisposable {
  readonly stack: Stack;
  readonly addresses: StackAddresses;
  readonly #directory: TempDir;
  readonly #tenants: readonly StackTenant[];
  #taken = 0;
  #clones = 0;

  private constructor(stack: Stack, addresses: StackAddresses, directory: TempDir, tenants: readonly StackTenant[]) {
    this.stack = stack;
    this.addresses = addresses;
    this.#directory = directory;
    this.#tenants = tenants;
  }

  /** With room for so many agents. */
  static async open(kubeconfig: string, agents: number): Promise<Fleet> {
    const directory = await createTempDir();
    const addresses = await freeAddresses();
    // Tests of other files may work on the same cluster.
    const firstId = randomInt(1_001, 2 ** 31 - agents);
    const tenants = Array.from({ length: agents }, (_, index) => ({
      agent: { id: firstId + index, name: `agent-${index}` },
      project: `scenarios/agent-${index}`,
    }));
    try {
      const stack = await Stack.open({
        directory: join(directory.path, 'stack'),
        kubeconfig,
        addresses,
        pollPeriodMs: POLL_PERIOD_MS,
        notifications: true,
        tenants,
      });
      return new Fleet(stack, addresses, directory, tenants);
    } catch (error) {
      await directory.remove();
      throw error;
    }
  }

  /** An agent that nobody has used. */
  take(): StackTenant {
    const tenant = this.#tenants[this.#taken];
    if (tenant === undefined) throw new Error(`all ${this.#tenants.length} agents are taken`);
    this.#taken += 1;
    return tenant;
  }

  /** For a clone. */
  freshDirectory(): string {
    this.#clones += 1;
    return join(this.#directory.path, `clone-${this.#clones}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack[Symbol.asyncDispose]();
    await this.#directory.remove();
  }
}
