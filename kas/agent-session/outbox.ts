import { abortable } from '../../lib/abort.ts';
import type { AgentConfiguration } from './agent-configuration.ts';
import type { UnitCommand } from './agent-message.ts';
import type { UnitBundle } from './bundle-stream.ts';

export type OutboxItem =
  | { readonly type: 'configuration'; readonly configuration: AgentConfiguration }
  | { readonly type: 'bundle'; readonly bundle: UnitBundle }
  | { readonly type: 'command'; readonly unit: string; readonly command: UnitCommand }
  | { readonly type: 'tunnels'; readonly count: number };

/**
 * What an agent has yet to be sent: at most one configuration and one bundle for each unit, the newest. The
 * call for tunnels goes first, then the configuration; units follow in the order in which they became due, then commands.
 */
export class Outbox {
  #configuration: AgentConfiguration | undefined;
  readonly #bundles = new Map<string, UnitBundle>();
  /** The newest of each kind for each unit. */
  readonly #commands = new Map<string, Extract<OutboxItem, { type: 'command' }>>();
  #tunnels = 0;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  configure(configuration: AgentConfiguration): void {
    this.#configuration = configuration;
    this.#wake?.();
  }

  /** Replaces a bundle of the same unit that was not taken yet. */
  submit(bundle: UnitBundle): void {
    this.#bundles.set(bundle.unit, bundle);
    this.#wake?.();
  }

  /** A command about a unit; it follows the bundles that were submitted before it. */
  command(unit: string, command: UnitCommand): void {
    this.#commands.set(`${command.type} ${unit}`, { type: 'command', unit, command });
    this.#wake?.();
  }

  /** The agent is to open so many tunnels more. */
  openTunnels(count: number): void {
    this.#tunnels += count;
    this.#wake?.();
  }

  /** The unit is not the agent's any more. */
  withdraw(unit: string): void {
    this.#bundles.delete(unit);
  }

  /** Nothing more is handed out. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake?.();
  }

  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Waits for the next item; undefined after `end`. Throws what `fail` was told, or the signal's reason. */
  async next(signal: AbortSignal): Promise<OutboxItem | undefined> {
    while (true) {
      this.throwIfFailed();
      if (this.#ended) return undefined;
      const item = this.#take();
      if (item !== undefined) return item;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await abortable(promise, signal);
    }
  }

  #take(): OutboxItem | undefined {
    if (this.#tunnels > 0) {
      const count = this.#tunnels;
      this.#tunnels = 0;
      return { type: 'tunnels', count };
    }
    const configuration = this.#configuration;
    if (configuration !== undefined) {
      this.#configuration = undefined;
      return { type: 'configuration', configuration };
    }
    const [bundle] = this.#bundles.values();
    if (bundle !== undefined) {
      this.#bundles.delete(bundle.unit);
      return { type: 'bundle', bundle };
    }
    const [command] = this.#commands;
    if (command === undefined) return undefined;
    this.#commands.delete(command[0]);
    return command[1];
  }
}
