import type { Logger } from '../../lib/log.ts';
import type { Part } from '../../lib/stages.ts';
import type { AgentRequests } from '../agent-services/agent-call.ts';
import type { KasConfig } from '../config/kas-config.ts';
import { CableServer } from './cable-server.ts';
import { ChangeFollowers } from './change-follower.ts';
import type { LiveChangeLog } from './live-change-log.ts';

export interface OpenedLiveChanges {
  readonly changes: LiveChangeLog;
  readonly followers: ChangeFollowers;
  /** Run together with the other servers. */
  readonly servers: readonly Part[];
}

export interface LiveChangesDeps {
  readonly agents: AgentRequests;
  readonly createLog: (channelPrefix: string) => LiveChangeLog;
  readonly apiSecret: Uint8Array;
  readonly log: Logger;
}

/** Follows agents, keeps what they tell, and serves it to pages where the configuration says so. */
export function openLiveChanges(
  config: KasConfig['liveChanges'],
  { agents, createLog, apiSecret: secret, log }: LiveChangesDeps,
): OpenedLiveChanges {
  const changes = createLog(config.channelPrefix);
  const rate = { perSecond: config.rateLimit.refillPerSecond, atOnce: config.rateLimit.bucketSize };
  const followers = new ChangeFollowers({ agents, changes, rate, log });
  const servers = config.cable === undefined ? [] : [new CableServer({ ...config.cable, secret, changes, log })];
  return { changes, followers, servers };
}
