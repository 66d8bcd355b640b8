import type { OpenedRegistry } from './open-registry.ts';
import type { AgentInfo, ProjectInfo } from './registry.ts';

export type RegistryQuestion = 'agent' | 'configuration_project' | 'manifest_project';

/** The same registry; `asked` hears of each question. */
export function countedRegistry(opened: OpenedRegistry, asked: (question: RegistryQuestion) => void): OpenedRegistry {
  return { ...opened, registry: new CountedRegistry(opened.registry, asked) };
}

class CountedRegistry {
  readonly #registry: OpenedRegistry['registry'];
  readonly #asked: (question: RegistryQuestion) => void;

  constructor(registry: OpenedRegistry['registry'], asked: (question: RegistryQuestion) => void) {
    this.#registry = registry;
    this.#asked = asked;
  }

  agents(): readonly AgentInfo[] {
    return this.#registry.agents();
  }

  onChange(listener: () => void): () => void {
    return this.#registry.onChange(listener);
  }

  async watch(signal: AbortSignal): Promise<void> {
    await this.#registry.watch(signal);
  }

  agentByToken(token: string, signal: AbortSignal): Promise<AgentInfo> {
    this.#asked('agent');
    return this.#registry.agentByToken(token, signal);
  }

  configurationProject(token: string, signal: AbortSignal): Promise<ProjectInfo> {
    this.#asked('configuration_project');
    return this.#registry.configurationProject(token, signal);
  }

  manifestProject(token: string, path: string, signal: AbortSignal): Promise<ProjectInfo> {
    this.#asked('manifest_project');
    return this.#registry.manifestProject(token, path, signal);
  }
}
