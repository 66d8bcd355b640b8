import { stat } from 'node:fs/promises';
import { sleep } from '../../lib/abort.ts';
import { isAbort, toError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { type AccessTokenRecord, hashAccessToken, isExpired, readAccessTokens } from './access-tokens.ts';
import { type AgentTokenRecord, findTokenOwner, readAgentTokens } from './agent-tokens.ts';
import type { AgentInfo, ProjectInfo, Registry } from './registry.ts';
import { type RegisteredUser, type RegistryContent, readRegistryFile } from './registry-file.ts';

/** How long a change of a file may go unnoticed. */
const RECHECK_MS = 500;

/**
 * The registry of a kas that stands alone: a YAML file that people write and a file of token hashes that
 * `createAgentToken` writes. Both are read again when they change; a broken edit keeps the last good state.
 */
export class FileRegistry implements Registry {
  readonly #file: string;
  readonly #log: Logger;
  readonly #listeners = new Set<() => void>();
  #loaded: Loaded;
  /** What was said of the state that the files are in, while they are broken. */
  #broken: string | undefined;
  #reading: Promise<void> | undefined;

  private constructor(file: string, log: Logger, loaded: Loaded) {
    this.#file = file;
    this.#log = log;
    this.#loaded = loaded;
  }

  /** UserError with file and line when one of the files is wrong. */
  static async open(file: string, log: Logger): Promise<FileRegistry> {
    return new FileRegistry(file, log, await load(file, [file]));
  }

  /** Follows changes of the files until `signal` fires. */
  async watch(signal: AbortSignal): Promise<void> {
    try {
      while (true) {
        await sleep(RECHECK_MS, signal);
        await this.#refresh();
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  /** All agents, ordered as in the file. */
  agents(): readonly AgentInfo[] {
    return [...this.#loaded.content.agents.values()];
  }

  /** Paths of the projects whose repository is at this address of a Git host (see `repositoryUrlKey`). */
  projectsAt(urlKey: string): readonly string[] {
    return [...this.#loaded.content.projects].flatMap(([path, { remote }]) => (remote === urlKey ? [path] : []));
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async agentByToken(token: string, signal: AbortSignal): Promise<AgentInfo> {
    signal.throwIfAborted();
    const known = this.#agentByToken(token);
    if (known !== undefined) return known;
    // It may have been created a moment ago.
    await this.#refresh();
    const agent = this.#agentByToken(token);
    if (agent === undefined)
      throw new UserError('The agent token is not known.', { kind: 'unauthenticated', reason: 'UnknownToken' });
    return agent;
  }

  async configurationProject(token: string, signal: AbortSignal): Promise<ProjectInfo> {
    const agent = await this.agentByToken(token, signal);
    const entry = this.#loaded.content.projects.get(agent.project);
    if (entry === undefined) throw projectNotFound(agent.project, agent);
    return entry.project;
  }

  async manifestProject(token: string, path: string, signal: AbortSignal): Promise<ProjectInfo> {
    const agent = await this.agentByToken(token, signal);
    const entry = this.#loaded.content.projects.get(path);
    const readable = entry !== undefined && (entry.public || agent.project === path || entry.agents.has(agent.name));
    if (!readable) throw projectNotFound(path, agent);
    return entry.project;
  }

  /** The project with an agent's configuration; UserError `not_found`. */
  async projectOfAgent(name: string): Promise<ProjectInfo> {
    const agent = this.#loaded.content.agents.get(name);
    const entry = agent === undefined ? undefined : this.#loaded.content.projects.get(agent.project);
    if (entry === undefined)
      throw new UserError(`The registry has no agent "${name}"`, { kind: 'not_found', reason: 'UnknownAgent' });
    return entry.project;
  }

  /** Who a token for clusters belongs to; UserError `unauthenticated` for one that nobody has, or that has expired. */
  async accessByToken(kind: AccessTokenRecord['kind'], token: string, signal: AbortSignal): Promise<AccessOwner> {
    signal.throwIfAborted();
    // It may have been created, or revoked, a moment ago.
    await this.#refresh();
    const { content, accessTokens } = this.#loaded;
    const record = accessTokens.get(hashAccessToken(token));
    const user = record?.kind === 'user' ? content.users.get(record.owner) : undefined;
    const known = record?.kind === kind && (kind === 'user' ? user !== undefined : content.projects.has(record.owner));
    if (!known || isExpired(record, new Date()))
      throw new UserError('the token is not known, or has expired', { kind: 'unauthenticated', reason: 'UnknownToken' });
    return { record, user };
  }

  #agentByToken(token: string): AgentInfo | undefined {
    const owner = findTokenOwner(this.#loaded.tokens, token);
    return owner === undefined ? undefined : this.#loaded.content.agents.get(owner);
  }

  /** Reads again what changed; callers at the same time share one reading. Never rejects. */
  async #refresh(): Promise<void> {
    this.#reading ??= this.#readIfChanged().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #readIfChanged(): Promise<void> {
    const fingerprint = await fingerprintOf(this.#loaded.files);
    if (fingerprint === this.#loaded.fingerprint) return;
    try {
      this.#loaded = await load(this.#file, this.#loaded.files);
    } catch (error) {
      // Read again at the next look, since what is missing may be a file that was never there to be watched.
      const { message } = toError(error);
      if (message !== this.#broken)
        this.#log.error('Registry is broken, the last good state stays', { file: this.#file, detail: message });
      this.#broken = message;
      return;
    }
    this.#broken = undefined;
    this.#log.info('Registry changed', { file: this.#file });
    // They may add themselves again.
    const listeners = [...this.#listeners];
    for (const listener of listeners) listener();
  }
}

/** Who has a token for clusters: a job's is in the record alone. */
export interface AccessOwner {
  readonly record: AccessTokenRecord;
  readonly user: RegisteredUser | undefined;
}

interface Loaded {
  readonly content: RegistryContent;
  readonly tokens: ReadonlyMap<string, AgentTokenRecord>;
  readonly accessTokens: ReadonlyMap<string, AccessTokenRecord>;
  /** Everything that was read. */
  readonly files: readonly string[];
  /** What the files looked like before that: a change while they are read is seen by the next look. */
  readonly fingerprint: string;
}

async function load(file: string, expectedFiles: readonly string[]): Promise<Loaded> {
  const fingerprint = await fingerprintOf(expectedFiles);
  const content = await readRegistryFile(file);
  const tokens = await readAgentTokens(content.agentTokensFile);
  const accessTokens = await readAccessTokens(content.accessTokensFile);
  const files = [file, content.agentTokensFile, content.accessTokensFile, ...content.tokenFiles];
  return files.join('\n') === expectedFiles.join('\n')
    ? { content, tokens, accessTokens, files, fingerprint }
    : load(file, files);
}

function projectNotFound(path: string, agent: AgentInfo): UserError {
  return new UserError(
    `Project "${path}" does not exist, or agent "${agent.name}" may not read it: an agent reads its own project, public ones, and those that list it under agents.`,
    { kind: 'not_found', reason: 'ProjectNotFound' },
  );
}

/** One line per file with what changes when it is written. */
async function fingerprintOf(files: readonly string[]): Promise<string> {
  const lines = files.map(async (file) => {
    const found = await stat(file, { bigint: true }).catch(() => undefined);
    return found === undefined ? `${file} -` : `${file} ${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}`;
  });
  return (await Promise.all(lines)).join('\n');
}
