import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import type { ConfigurationSource } from '../agent-session/agent-configuration.ts';
import type { SessionMetrics } from '../agent-session/session-reports.ts';
import type { KasConfig } from '../config/kas-config.ts';
import { ConfigurationReporter } from './configuration-reporter.ts';
import type { GitlabClient } from './gitlab-client.ts';
import { UsageReporter } from './usage-reporter.ts';

/** What GitLab is told; for a kas that stands alone nothing is. */
export interface GitlabReports {
  readonly parts: readonly Part[];
  /** Metrics that count for GitLab, too. */
  counting(metrics: SessionMetrics): SessionMetrics;
  /** A source whose configurations are told to GitLab as well. */
  reporting(source: ConfigurationSource): ConfigurationSource;
}

export function openGitlabReports({ observability }: KasConfig, client: GitlabClient | undefined, log: Logger): GitlabReports {
  const periodMs = observability.usageReportingPeriodMs;
  const usage = client === undefined || periodMs === 0 ? undefined : new UsageReporter({ client, periodMs, log });
  const configurations = client && new ConfigurationReporter({ client, log });
  return {
    parts: [usage, configurations].filter((part) => part !== undefined),
    counting: (metrics) => usage?.counting(metrics) ?? metrics,
    reporting: (source) => configurations?.reporting(source) ?? source,
  };
}
