import { newestOf } from '../../lib/latest.ts';
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

  /** As the source's `watch`, with a snapshot for each change of an override as well. */
  watch(token: string, agent: AgentInfo, signal: AbortSignal): AsyncGenerator<ConfigurationSnapshot, void, void> {
    return newestOf(async (publish, scope) => {
      let newest: ConfigurationSnapshot | undefined;
      const tell = (): void => {
        if (newest !== undefined) publish(this.#override(newest, agent));
      };
      const unsubscribe = this.#overrides.onChange((agentId) => {
        if (agentId === agent.id) tell();
      });
      try {
        for await (newest of this.#source.watch(token, agent, scope)) tell();
      } finally {
        unsubscribe();
      }
    }, signal);
  }

  #override(snapshot: ConfigurationSnapshot, agent: AgentInfo): ConfigurationSnapshot {
    if (snapshot.configuration === undefined) return snapshot;
    return { ...snapshot, configuration: withOverrides(snapshot.configuration, this.#overrides.of(agent.id)) };
  }
}
