import { AbortScope, sleep } from '../../lib/abort.ts';
import { Backoff } from '../../lib/backoff.ts';
import { isAbort, toError, UserError } from '../../lib/errors.ts';
import { callServerStream } from '../../lib/grpc/call.ts';
import type { Logger } from '../../lib/log.ts';
import { GitopsClient } from '../../proto/gen/gitlab/agent/gitops/gitops.ts';
import type { KasChannel } from '../session/kas-channel.ts';
import type { ProjectUnit } from './gitlab-configuration.ts';
import { FileReceiver, type ReceivedFiles } from './received-files.ts';

export interface ProjectStreamsDeps {
  readonly channel: KasChannel;
  /** The commits that were received, by the units' source ids: what kas need not send again. It outlives a connection. */
  readonly processed: Map<string, string>;
  readonly onFiles: (unit: ProjectUnit, received: ReceivedFiles) => Promise<void>;
  readonly log: Logger;
}

const RETRY = { initialMs: 1_000, maxMs: 300_000, factor: 2, jitter: 0.5, resetAfterMs: 60_000 };
/** GitLab's kas counts calls by the minute. */
const EXHAUSTED_MS = 10_000;
const PAUSE_MS = 200;

interface Following {
  readonly sourceId: string;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/** Follows the projects of an agent: one call for each, which brings one commit and ends, again and again. */
export class ProjectStreams {
  readonly #deps: ProjectStreamsDeps;
  readonly #client: GitopsClient;
  readonly #following = new Map<string, Following>();
  readonly #ended = new Set<Promise<void>>();
  readonly #signal: AbortSignal;

  /** Everything ends with `signal`. */
  constructor(deps: ProjectStreamsDeps, signal: AbortSignal) {
    const { target, credentials, options } = deps.channel;
    this.#deps = deps;
    this.#client = new GitopsClient(target, credentials, options);
    this.#signal = signal;
  }

  /** Calls of units that stay as they are go on. */
  configure(units: readonly ProjectUnit[]): void {
    const wanted = new Map(units.map((unit) => [unit.name, unit]));
    for (const [name, { sourceId, stop }] of this.#following) {
      if (wanted.get(name)?.sourceId === sourceId) continue;
      stop.abort(new DOMException('The unit is no more what it was', 'AbortError'));
      this.#following.delete(name);
    }
    for (const unit of units) if (!this.#following.has(unit.name)) this.#start(unit);
  }

  /** Resolves when the signal has fired and no call is left. */
  async stopped(): Promise<void> {
    await Promise.all(this.#ended);
  }

  #start(unit: ProjectUnit): void {
    const stop = new AbortController();
    const ended = this.#follow(unit, AbortSignal.any([stop.signal, this.#signal]));
    this.#following.set(unit.name, { sourceId: unit.sourceId, stop, ended });
    this.#ended.add(ended);
    void ended.finally(() => this.#ended.delete(ended));
  }

  async #follow(unit: ProjectUnit, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(RETRY);
    while (!signal.aborted) {
      let delayMs = Math.random() * PAUSE_MS;
      try {
        const received = await this.#receive(unit, signal);
        // The end of a connection's age, usually; a kas that has nothing to say but ends at once must not be asked in a loop.
        if (received === undefined) delayMs = backoff.next();
        else {
          await this.#deps.onFiles(unit, received);
          this.#deps.processed.set(unit.sourceId, received.commitId);
          backoff.reset();
        }
      } catch (error) {
        if (isAbort(error, signal)) return;
        delayMs = backoff.next();
        if (error instanceof UserError && error.kind === 'exhausted') delayMs += EXHAUSTED_MS;
        this.#deps.log.warn('Objects of a project could not be received', {
          unit: unit.name,
          detail: toError(error).message,
          delayMs: Math.round(delayMs),
        });
      }
      await sleep(delayMs, signal).catch(() => undefined);
    }
  }

  async #receive(unit: ProjectUnit, signal: AbortSignal): Promise<ReceivedFiles | undefined> {
    using scope = new AbortScope(signal);
    const request = {
      projectId: unit.project,
      commitId: this.#deps.processed.get(unit.sourceId) ?? '',
      paths: unit.globs.map((glob) => ({ glob })),
    };
    const receiver = new FileReceiver();
    const { metadata } = this.#deps.channel;
    const client = this.#client;
    const messages = callServerStream(client.getObjectsToSynchronize.bind(client), request, { metadata }, scope.signal);
    for await (const message of messages) receiver.receive(message);
    return receiver.end();
  }
}
