import PQueue from 'p-queue';
import { AbortScope, abortable, sleep } from '../../lib/abort.ts';
import { UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { createRepository } from './create-repository.ts';
import { Mirror } from './mirror.ts';
import type { RemoteConfig } from './remote-config.ts';
import type { RepositoryPath, Storages } from './storages.ts';

export interface MirroredProject {
  readonly storage: string;
  readonly relativePath: string;
  readonly remote: RemoteConfig;
}

export interface MirrorsDeps {
  readonly storages: Storages;
  readonly projects: readonly MirroredProject[];
  readonly log: Logger;
  /** How long one who asks for refs waits for the remote; 20 s by default. */
  readonly patienceMs?: number;
}

interface Entry {
  readonly mirror: Mirror;
  running: Promise<void> | undefined;
  /** Begins when the running one has ended. */
  next: Promise<void> | undefined;
}

/** From one host: another one that does not answer keeps nothing of it waiting. */
const CONCURRENT_FETCHES = 4;
const PATIENCE_MS = 20_000;

/** The repositories that are copies of others. They are brought up to date when somebody asks for their refs. */
export class Mirrors {
  readonly #deps: MirrorsDeps;
  readonly #entries = new Map<string, Entry>();
  /** By host of the remote. */
  readonly #queues = new Map<string, PQueue>();
  readonly #scope: AbortScope;

  constructor(deps: MirrorsDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#scope = new AbortScope(signal);
  }

  /** Creates the repositories that are not there yet. */
  async start(): Promise<void> {
    const { storages, projects, log } = this.#deps;
    for (const { storage, relativePath, remote } of projects) {
      const repository = await storages.repository(storage, relativePath).catch(async (error: unknown) => {
        if (!(error instanceof UserError) || error.kind !== 'not_found') throw error;
        return await createRepository({ storage: storages.storage(storage), relativePath }, this.#scope.signal);
      });
      const mirror = new Mirror(repository.path, remote, log.child({ repository: relativePath }));
      this.#entries.set(keyOf(repository), { mirror, running: undefined, next: undefined });
    }
  }

  /**
   * Resolves when a repository has what its remote had at this moment or later; at once for one that is no copy. Errors
   * as `Mirror.refresh`; `RemoteBeingCopied` with the progress when the remote takes longer than a caller waits. The
   * copying goes on then.
   */
  async refresh(repository: RepositoryPath, signal: AbortSignal): Promise<void> {
    const entry = this.#entries.get(keyOf(repository));
    if (entry === undefined) return;
    using patience = new AbortScope(signal);
    const late = sleep(this.#deps.patienceMs ?? PATIENCE_MS, patience.signal).then(() => {
      const at = entry.mirror.progress === '' ? '' : `: ${entry.mirror.progress}`;
      throw new UserError(`The remote ${entry.mirror.url} is being copied${at}. Nothing needs to be done.`, {
        kind: 'precondition',
        reason: 'RemoteBeingCopied',
      });
    });
    late.catch(() => undefined);
    await abortable(Promise.race([this.#fresh(entry), late]), signal);
  }

  /** Ends what runs. */
  async close(): Promise<void> {
    this.#scope[Symbol.dispose]();
    const works = [...this.#entries.values()].flatMap(({ running, next }) => [running, next]);
    await Promise.allSettled(works.filter((work) => work !== undefined));
  }

  /** A copying that begins after the call; callers share it. */
  #fresh(entry: Entry): Promise<void> {
    if (entry.next !== undefined) return entry.next;
    if (entry.running === undefined) return this.#run(entry);
    entry.next = entry.running
      .catch(() => undefined)
      .then(() => {
        entry.next = undefined;
        return this.#run(entry);
      });
    entry.next.catch(() => undefined);
    return entry.next;
  }

  #run(entry: Entry): Promise<void> {
    const work = this.#queueOf(entry.mirror.url).add(async () => await entry.mirror.refresh(this.#scope.signal));
    entry.running = work.finally(() => {
      entry.running = undefined;
    });
    entry.running.catch(() => undefined);
    return entry.running;
  }

  #queueOf(url: string): PQueue {
    const host = hostOf(url);
    const queue = this.#queues.get(host) ?? new PQueue({ concurrency: CONCURRENT_FETCHES });
    this.#queues.set(host, queue);
    return queue;
  }
}

/** Of an address that `remoteSchema` takes: "example.com:8443", also where ssh's user stands before it. */
function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : url.slice(url.indexOf('@') + 1, url.indexOf(':'));
}

function keyOf({ storage, relativePath }: RepositoryPath): string {
  return `${storage.name}:${relativePath}`;
}
