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
  #commands: Map<string, Extract<OutboxItem, { type: 'command' }>> | undefined;
  #tunnels = 0;

  configure(configuration: AgentConfiguration): void {
    this.#configuration = configuration;
  }

  /** Replaces a bundle of the same unit that was not taken yet. */
  submit(bundle: UnitBundle): void {
    this.#bundles.set(bundle.unit, bundle);
  }

  /** A command about a unit; it follows the bundles that were submitted before it. */
  command(unit: string, command: UnitCommand): void {
    this.#commands ??= new Map();
    this.#commands.set(`${command.type} ${unit}`, { type: 'command', unit, command });
  }

  /** The agent is to open so many tunnels more. */
  openTunnels(count: number): void {
    this.#tunnels += count;
  }

  /** The unit is not the agent's any more. */
  withdraw(unit: string): void {
    this.#bundles.delete(unit);
  }

  /** What was taken and cannot be sent yet; a newer bundle of the unit stays. */
  putBack(bundle: UnitBundle): void {
    if (!this.#bundles.has(bundle.unit)) this.#bundles.set(bundle.unit, bundle);
  }

  /** The next item, if there is one; no bundle when `withBundles` is false. */
  take(withBundles = true): OutboxItem | undefined {
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
    const [bundle] = withBundles ? this.#bundles.values() : [];
    if (bundle !== undefined) {
      this.#bundles.delete(bundle.unit);
      return { type: 'bundle', bundle };
    }
    const [command] = this.#commands ?? [];
    if (command === undefined) return undefined;
    this.#commands?.delete(command[0]);
    return command[1];
  }
}
