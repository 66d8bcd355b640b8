import type { WorkingCopy } from '../harness/git.ts';

/** An entry of `gitops.manifest_projects`, without name and paths. */
export type UnitSettings = Readonly<Record<string, unknown>>;

/** Contents by path; undefined removes the file. */
export type Changes = Readonly<Record<string, string | undefined>>;

/** A project with manifests and the configuration of the agent that syncs them. Unit `name` is what lies in folder `name`. */
export class Repository {
  readonly copy: WorkingCopy;
  /** Of the agent's configuration. */
  readonly configFile: string;
  readonly #defaultNamespace: string;
  readonly #units = new Map<string, UnitSettings>();
  #logLevel = 'info';

  constructor(copy: WorkingCopy, agent: string, defaultNamespace: string) {
    this.copy = copy;
    this.configFile = `.gitlab/agents/${agent}/config.yaml`;
    this.#defaultNamespace = defaultNamespace;
  }

  /** Commits and pushes a unit: its manifests, by file name, and its entry in the configuration. */
  async addUnit(name: string, files: Changes, settings: UnitSettings = {}): Promise<string> {
    this.#units.set(name, { default_namespace: this.#defaultNamespace, paths: [{ glob: `/${name}/**` }], ...settings });
    const below = Object.entries(files).map(([file, content]) => [`${name}/${file}`, content]);
    return await this.push({ ...Object.fromEntries(below), [this.configFile]: this.configuration() });
  }

  /** Takes a unit out of the configuration; its manifests stay. */
  async dropUnit(name: string): Promise<string> {
    this.#units.delete(name);
    return await this.push({ [this.configFile]: this.configuration() });
  }

  async setLogLevel(level: string): Promise<string> {
    this.#logLevel = level;
    return await this.push({ [this.configFile]: this.configuration() });
  }

  /** The agent's configuration as it should be: JSON, which is YAML, an entry a line. */
  configuration(): string {
    const entries = [...this.#units].map(([name, settings]) => `    - ${JSON.stringify({ name, ...settings })}\n`);
    const units = entries.length === 0 ? ' []\n' : `\n${entries.join('')}`;
    return `gitops:\n  manifest_projects:${units}observability:\n  logging:\n    level: ${this.#logLevel}\n`;
  }

  /** Writes and removes files, commits, pushes; the commit's id. */
  async push(changes: Changes): Promise<string> {
    await this.change(changes);
    return await this.copy.commitAndPush('Change');
  }

  /** As `push`, without a commit. */
  async change(changes: Changes): Promise<void> {
    for (const [path, content] of Object.entries(changes)) {
      if (content === undefined) await this.copy.remove(path);
      else await this.copy.write(path, content);
    }
  }
}

export function configMap(name: string, data: Readonly<Record<string, string>> = {}, namespace?: string): string {
  const metadata = namespace === undefined ? { name } : { name, namespace };
  return `${JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data })}\n`;
}

/** Documents of one file. */
export function manifests(...documents: readonly string[]): string {
  return documents.join('---\n');
}

/** The path of a ConfigMap on the API server. */
export function configMapPath(namespace: string, name: string): string {
  return `/api/v1/namespaces/${namespace}/configmaps/${name}`;
}
