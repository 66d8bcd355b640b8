import { newestIn } from '../../lib/broadcast.ts';
import { formatListenAddress } from '../../lib/listen-address.ts';
import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import { GitConfigurationSource, type GitConfigurationSourceDeps } from '../agent-configuration/git-configuration-source.ts';
import type { ConfigurationSnapshot } from '../agent-session/agent-configuration.ts';
import type { KubernetesApiConfig } from '../config/kas-config.ts';
import type { FileRegistry } from '../registry/file-registry.ts';
import type { AgentInfo } from '../registry/registry.ts';
import type { ProxyAccess } from './access.ts';
import { AgentAccessPolicies } from './agent-access-policies.ts';
import { ConfiguredAccess } from './configured-access.ts';
import { KubernetesProxy, type KubernetesProxyDeps } from './kubernetes-proxy.ts';
import { ProxyListener } from './proxy-listener.ts';

/** Agents that are asked for again after so long have their configuration read again. */
const POLICY_LINGER_MS = 10 * 60_000;

export interface KubernetesProxyOptions {
  readonly config: KubernetesApiConfig;
  readonly agents: KubernetesProxyDeps['agents'];
  readonly access: ClosableAccess;
  readonly graceMs: number;
  readonly log: Logger;
}

/** The way of kubectl and CI jobs to clusters, as a part of kas. */
export function createKubernetesProxy({ config, agents, access, graceMs, log }: KubernetesProxyOptions): Part {
  const { listen, urlPathPrefix, accessTtlMs } = config;
  const proxy = new KubernetesProxy({ access, agents, urlPathPrefix, accessTtlMs, log });
  const listener = new ProxyListener({ ...listen, proxy, graceMs });
  return {
    name: listener.name,
    async run(ready, signal) {
      void listener.address.then(
        (address) => log.info('Kubernetes API proxy is ready', { address: formatListenAddress(address) }),
        () => undefined,
      );
      await listener.run(ready, signal).finally(() => proxy.close());
      await access.close();
    },
  };
}

export interface ClosableAccess extends ProxyAccess {
  close(): Promise<void>;
}

/** Access by the registry file and the agents' configurations in Git. */
export function fileAccess(registry: FileRegistry, source: Omit<GitConfigurationSourceDeps, 'registry'>): ClosableAccess {
  // Agents are named by people here, not by their tokens.
  const byName = {
    configurationProject: (name: string) => registry.projectOfAgent(name),
    onChange: (listener: () => void) => registry.onChange(listener),
  };
  const configurations = new GitConfigurationSource({ ...source, registry: byName });
  const watch = (agent: AgentInfo, signal: AbortSignal) =>
    newestIn<ConfigurationSnapshot>((subscriber) => configurations.subscribe(agent.name, agent, subscriber), signal);
  const policies = new AgentAccessPolicies({ watch, lingerMs: POLICY_LINGER_MS, log: source.log });
  const access = new ConfiguredAccess({ registry, configurations: policies });
  return {
    authorize: (credential, signal) => access.authorize(credential, signal),
    onChange: (listener) => access.onChange(listener),
    close: () => policies.close(),
  };
}
