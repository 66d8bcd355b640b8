import { sleep } from '../../lib/abort.ts';
import { isAbort, toError, UnavailableError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import type { SessionMetrics } from '../agent-session/session-reports.ts';
import type { GitlabClient } from './gitlab-client.ts';

export interface UsageReporterOptions {
  readonly client: GitlabClient;
  readonly periodMs: number;
  readonly log: Logger;
}

/**
 * Tells GitLab how often agents were sent a new state, once a period when there is something to tell. What was not taken
 * is told the next time.
 */
export class UsageReporter implements Part {
  readonly name = 'usage reporter';
  readonly #options: UsageReporterOptions;
  #syncs = 0;

  constructor(options: UsageReporterOptions) {
    this.#options = options;
  }

  /** Metrics that count for GitLab, too. */
  counting(metrics: SessionMetrics): SessionMetrics {
    return {
      bundleSent: (how, bytes) => {
        this.#syncs += 1;
        metrics.bundleSent(how, bytes);
      },
      unknownMessage: () => metrics.unknownMessage(),
    };
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    ready();
    try {
      while (true) {
        await sleep(this.#options.periodMs, signal);
        await this.#report(signal);
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  async #report(signal: AbortSignal): Promise<void> {
    const syncs = this.#syncs;
    if (syncs === 0) return;
    const { client, log } = this.#options;
    try {
      await client.post({ method: 'POST', path: '/usage_metrics', body: { gitops_sync_count: syncs } }, signal);
      this.#syncs -= syncs;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof UnavailableError) && !(error instanceof UserError)) throw error;
      log.debug('Usage was not reported', { detail: toError(error).message });
    }
  }
}
