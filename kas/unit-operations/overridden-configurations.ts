import type { Subscriber } from '../../lib/broadcast.ts';
import type { ConfigurationSnapshot, ConfigurationSource } from '../agent-session/agent-configuration.ts';
import type { AgentInfo } from '../registry/registry.ts';
import { type UnitOverrides, withOverrides } from './unit-overrides.ts';

/** Agents' configurations with what people set over them. */
export class OverriddenConfigurations implements ConfigurationSource {
  readonly #source: ConfigurationSource;
  readonly #overrides: UnitOverrides;

  constructor(source: ConfigurationSource, overrides: UnitOverrides) {
    this.#source = source;
    this.#overrides = overrides;
  }

  /** As the source's `subscribe`; each change of an override is told as well. */
  subscribe(token: string, agent: AgentInfo, subscriber: Subscriber<ConfigurationSnapshot>): () => void {
    let newest: ConfigurationSnapshot | undefined;
    const tell = (): void => {
      if (newest !== undefined) subscriber.next(this.#override(newest, agent));
    };
    const forget = this.#overrides.onChange((agentId) => {
      if (agentId === agent.id) tell();
    });
    const unsubscribe = this.#source.subscribe(token, agent, {
      next: (snapshot) => {
        newest = snapshot;
        tell();
      },
      failed: (error) => subscriber.failed(error),
    });
    return () => {
      forget();
      unsubscribe();
    };
  }

  #override(snapshot: ConfigurationSnapshot, agent: AgentInfo): ConfigurationSnapshot {
    if (snapshot.configuration === undefined) return snapshot;
    return { ...snapshot, configuration: withOverrides(snapshot.configuration, this.#overrides.of(agent.id)) };
  }
}
