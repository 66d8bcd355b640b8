import { WorkingCopy } from '../harness/git.ts';
import type { Commit, Generated } from './scenario-schema.ts';

type Entry = Readonly<Record<string, unknown>>;

/** An agent's project as a person works on it: manifests, and the agent's configuration, which follows from the units. */
export class Project {
  readonly #copy: WorkingCopy;
  readonly #configFile: string;
  readonly #namespace: string;
  readonly #units = new Map<string, Entry>();
  readonly #ids = new Map<string, string>();
  #configuration: Entry = {};
  #gitops: Entry = {};
  #newest = '';

  private constructor(copy: WorkingCopy, agent: string, namespace: string) {
    this.#copy = copy;
    this.#configFile = `.gitlab/agents/${agent}/config.yaml`;
    this.#namespace = namespace;
  }

  static async clone(repository: string, directory: string, agent: string, namespace: string): Promise<Project> {
    return new Project(await WorkingCopy.clone(repository, directory), agent, namespace);
  }

  /** @throws Error when the agent has several */
  onlyUnit(): string {
    const [first = '', second] = this.#units.keys();
    if (second !== undefined) throw new Error('the agent has several units: name the one that is meant');
    return first;
  }

  /** Id of the last commit; empty before the first. */
  get newest(): string {
    return this.#newest;
  }

  /** Of the commit with this name. */
  idOf(name: string): string {
    const id = this.#ids.get(name);
    if (id === undefined) throw new Error(`there is no commit named ${name} yet`);
    return id;
  }

  /** Commits and pushes. The first commit brings the unit `app`, when it names none. */
  async commit({ files, units, configuration, gitops, as }: Commit): Promise<void> {
    const changes = this.#newest === '' && Object.keys(units).length === 0 ? { app: {} } : units;
    for (const [name, entry] of Object.entries(changes)) {
      if (entry === null) this.#units.delete(name);
      else this.#units.set(name, this.#resolved(entry));
    }
    this.#configuration = { ...this.#configuration, ...configuration };
    this.#gitops = { ...this.#gitops, ...gitops };
    for (const [path, content] of Object.entries(files)) {
      if (content === null) await this.#copy.remove(path);
      else await this.#copy.write(path, this.#resolved(typeof content === 'string' ? content : expand(content)));
    }
    await this.#copy.write(this.#configFile, this.#configurationText());
    this.#newest = await this.#copy.commitAndPush(as ?? 'Change');
    if (as !== undefined) this.#ids.set(as, this.#newest);
  }

  /** JSON, which is YAML, an entry a line. */
  #configurationText(): string {
    const entries = [...this.#units].map(([name, entry]) => ({
      name,
      default_namespace: this.#namespace,
      paths: [{ glob: `/${name}/**` }],
      ...entry,
    }));
    const gitops = { ...this.#gitops, manifest_projects: entries };
    return `${JSON.stringify({ ...this.#configuration, gitops }, undefined, 1)}\n`;
  }

  /** With the ids of commits in the place of their names. */
  #resolved<T>(value: T): T {
    const text = JSON.stringify(value).replace(/\$\{commit\.([a-z0-9-]+)\}/g, (_, name: string) => this.idOf(name));
    return JSON.parse(text) as T;
  }
}

function expand({ count, each }: Generated): string {
  return Array.from({ length: count }, (_, index) => each.replaceAll('${n}', String(index))).join('\n---\n');
}
