import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Answer, Command, Credential, Endpoint, Goal } from './protocol.ts';

const PROGRAM = join(import.meta.dirname, 'simulator.ts');

/** Answers of all simulators together. */
export type Outcome = Omit<Answer, 'id'>;

/** Processes that play the agents of a fleet, each a part of them. */
export class Simulators implements AsyncDisposable {
  readonly #children: readonly ChildProcess[];
  #questions = 0;

  constructor(processes: number) {
    this.#children = Array.from({ length: processes }, () => fork(PROGRAM, [], { serialization: 'advanced' }));
  }

  /** Where agents find kas from their next attempt on. */
  use(endpoint: Endpoint): void {
    for (const child of this.#children) this.#tell(child, { type: 'endpoint', endpoint });
  }

  /** Agents that connect, so many a second, and stay. */
  start(agents: readonly Credential[], perSecond: number): void {
    const share = Math.ceil(agents.length / this.#children.length);
    for (const [index, child] of this.#children.entries()) {
      // An address of the loopback network for each: a port range of its own.
      const localAddress = `127.0.0.${index + 2}`;
      const part = agents.slice(index * share, (index + 1) * share);
      this.#tell(child, { type: 'start', agents: part, localAddress, perSecond: perSecond / this.#children.length });
    }
  }

  /** Waits until the agents of all simulators reached the goal, or the time is over. */
  async expect(goal: Goal, timeoutMs: number): Promise<Outcome> {
    const answers = await Promise.all(this.#children.map((child) => this.#ask(child, goal, timeoutMs)));
    const failures: Record<string, number> = {};
    for (const answer of answers)
      for (const [what, count] of Object.entries(answer.failures)) failures[what] = (failures[what] ?? 0) + count;
    return {
      reachedAt: answers.flatMap(({ reachedAt }) => reachedAt).sort((a, b) => a - b),
      missing: answers.flatMap(({ missing }) => missing),
      failures,
      contents: answers.reduce((sum, { contents }) => sum + contents, 0),
      bytes: answers.reduce((sum, { bytes }) => sum + bytes, 0),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    for (const child of running) child.kill('SIGKILL');
    await Promise.all(running.map(async (child) => await once(child, 'exit')));
  }

  async #ask(child: ChildProcess, goal: Goal, timeoutMs: number): Promise<Answer> {
    this.#questions += 1;
    const id = this.#questions;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const hear = (answer: Answer): void => {
      if (answer.id === id) resolve(answer);
    };
    const gone = (code: number | null): void => reject(new Error(`a simulator ended with ${String(code)}`));
    child.on('message', hear);
    child.once('exit', gone);
    try {
      this.#tell(child, { type: 'expect', id, goal, timeoutMs });
      return await promise;
    } finally {
      child.off('message', hear);
      child.off('exit', gone);
    }
  }

  #tell(child: ChildProcess, command: Command): void {
    child.send(command);
  }
}
