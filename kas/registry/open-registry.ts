import type { Logger } from '../../lib/log.ts';
import type { AgentDirectory } from '../api-server/agent-directory.ts';
import type { KasConfig } from '../config/kas-config.ts';
import { GitlabClient, readGitlabFiles } from '../gitlab-api/gitlab-client.ts';
import { FileRegistry } from './file-registry.ts';
import { checkPeriodMs, GitlabRegistry } from './gitlab-registry.ts';
import type { Registry } from './registry.ts';

/** The registry that the configuration names. */
export interface OpenedRegistry {
  readonly registry: Registry & AgentDirectory & { watch(signal: AbortSignal): Promise<void> };
  /** How often one who follows an agent has to ask for it. */
  readonly tokenCheckPeriodMs: number;
  /** The registry of a kas that stands alone, which knows people and jobs as well. */
  readonly file: FileRegistry | undefined;
  /** Undefined for a kas that stands alone. Closed by whoever opened the registry. */
  readonly gitlab: GitlabClient | undefined;
}

/** Besides this, a change of a registry file is acted on at once. */
const FILE_CHECK_PERIOD_MS = 30_000;

/** UserError when a file that the configuration names cannot be used. */
export async function openRegistry({ gitlab, registry, agent }: KasConfig, log: Logger): Promise<OpenedRegistry> {
  if (gitlab !== undefined) {
    const files = await readGitlabFiles(gitlab);
    const client = new GitlabClient({ address: gitlab.address, ...files, rateLimit: gitlab.apiRateLimit, log });
    const [agentInfo, projectInfo] = [agent.infoCache, agent.gitops.projectInfoCache];
    return {
      registry: new GitlabRegistry({ client, agentInfo, projectInfo }),
      tokenCheckPeriodMs: checkPeriodMs(agentInfo),
      file: undefined,
      gitlab: client,
    };
  }
  if (registry === undefined) throw new Error('The schema lets no configuration pass without a registry');
  const file = await FileRegistry.open(registry.file, log);
  return { registry: file, tokenCheckPeriodMs: FILE_CHECK_PERIOD_MS, file, gitlab: undefined };
}
