import { AbortScope } from '../../lib/abort.ts';
import { isAbort } from '../../lib/errors.ts';
import { Latest } from '../../lib/latest.ts';
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
  async *watch(token: string, agent: AgentInfo, signal: AbortSignal): AsyncGenerator<ConfigurationSnapshot, void, void> {
    using scope = new AbortScope(signal);
    const snapshots = new Latest<ConfigurationSnapshot>();
    let newest: ConfigurationSnapshot | undefined;
    let failure: { readonly error: unknown } | undefined;
    const following = (async (): Promise<void> => {
      for await (const snapshot of this.#source.watch(token, agent, scope.signal)) {
        newest = snapshot;
        snapshots.set(snapshot);
      }
    })()
      .catch((error: unknown) => {
        if (!isAbort(error, scope.signal)) failure = { error };
      })
      .finally(() => snapshots.close());
    const unsubscribe = this.#overrides.onChange((agentId) => {
      if (agentId === agent.id && newest !== undefined) snapshots.set(newest);
    });
    try {
      for await (const snapshot of snapshots) yield this.#override(snapshot, agent);
      if (failure !== undefined) throw failure.error;
    } finally {
      unsubscribe();
      scope.abort(new DOMException('Nobody reads this configuration any more', 'AbortError'));
      await following;
    }
  }

  #override(snapshot: ConfigurationSnapshot, agent: AgentInfo): ConfigurationSnapshot {
    if (snapshot.configuration === undefined) return snapshot;
    return { ...snapshot, configuration: withOverrides(snapshot.configuration, this.#overrides.of(agent.id)) };
  }
}
