import type { Part } from '../lib/stages.ts';
import type { AgentTracker } from './agent-tracker/agent-tracker.ts';
import type { PollCallbacks, PollQueue } from './change-detection/poll-queue.ts';
import type { PushedRepository } from './change-detection/ref-watcher.ts';
import type { LiveChangeLog } from './live-changes/live-change-log.ts';
import type { StatusStore } from './sync-status/status-store.ts';
import type { UnitOverrides } from './unit-operations/unit-overrides.ts';

/** What the replicas of a kas have in common, in Redis; without, what the parts of the one have in common. */
export interface StateBackend {
  readonly tracker: AgentTracker & { readonly size: number };
  readonly store: StatusStore;
  readonly overrides: UnitOverrides;
  createQueue(callbacks: PollCallbacks): PollQueue;
  /** To the replicas that may watch what this one does not. */
  announcePush(pushed: PushedRepository): Promise<void>;
  /** Calls `listener` for pushes that another replica announced. */
  onPush(listener: (pushed: PushedRepository) => void): void;
  /** @param channelPrefix of Rails' ActionCable, for what is broadcast through Redis */
  createLiveChangeLog(channelPrefix: string): LiveChangeLog;
  /** Whether it answers. */
  readonly isConnected: boolean;
  /** Run before what uses the state, and end after it. */
  readonly parts: readonly Part[];
}
