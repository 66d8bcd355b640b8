import type { Logger } from '../lib/log.ts';
import type { Part } from '../lib/stages.ts';
import { AgentCommandsServiceService } from '../proto/gen/kas/private/v1/commands.ts';
import { AgentCommands } from './agent-session/agent-commands.ts';
import type { AgentTracker } from './agent-tracker/agent-tracker.ts';
import { MemoryAgentTracker } from './agent-tracker/memory-agent-tracker.ts';
import type { UnitCommander } from './api-server/units-service.ts';
import { InProcessPollQueue } from './change-detection/in-process-poll-queue.ts';
import type { KasConfig } from './config/kas-config.ts';
import { MemoryLiveChangeLog } from './live-changes/memory-live-change-log.ts';
import { CommandRouter } from './private-api/command-router.ts';
import { createCommandsService } from './private-api/commands-service.ts';
import { openPrivateApi, type PrivateApi } from './private-api/private-api.ts';
import { RedisState } from './redis-state.ts';
import type { StateBackend } from './state-backend.ts';
import { MemoryStatusStore } from './sync-status/memory-status-store.ts';
import { FileUnitOverrides } from './unit-operations/file-unit-overrides.ts';

export interface SharedState extends StateBackend {
  /** Sessions of this replica. */
  readonly agentCommands: AgentCommands;
  /** Sessions of all replicas. */
  readonly commands: UnitCommander;
  /** Undefined for a kas that is alone. Further services go on its listener before it runs. */
  readonly privateApi: PrivateApi | undefined;
  /** Run before `parts`: replicas tell each other where they listen. */
  readonly servers: readonly Part[];
}

export interface SharedStateOptions {
  readonly graceMs: number;
  readonly concurrentPolls: number;
  readonly log: Logger;
}

/** Throws UserError when something that the configuration names cannot be used. */
export async function openSharedState(config: KasConfig, options: SharedStateOptions): Promise<SharedState> {
  const { graceMs, log } = options;
  const agentCommands = new AgentCommands();
  const privateApi =
    config.privateApi === undefined ? undefined : await openPrivateApi(config.privateApi, { graceMs, log, env: process.env });
  const backend = await openBackend(config, privateApi, options);
  return Object.assign(backend, {
    agentCommands,
    commands: commander(agentCommands, backend.tracker, privateApi),
    privateApi,
    servers: privateApi === undefined ? [] : [privateServer(privateApi)],
  });
}

async function openBackend(
  { redis, gitaly, agent }: KasConfig,
  privateApi: PrivateApi | undefined,
  { concurrentPolls: concurrency, log }: SharedStateOptions,
): Promise<StateBackend> {
  const overrides = await FileUnitOverrides.open(agent.gitops.overridesFile);
  if (redis !== undefined && privateApi !== undefined) {
    const pollsPerSecond = gitaly.perServerRateLimit.refillPerSecond;
    return await RedisState.open(redis, { privateApi, overrides, concurrency, pollsPerSecond, log });
  }
  return {
    tracker: new MemoryAgentTracker(),
    store: new MemoryStatusStore(),
    overrides,
    createQueue: (callbacks) => new InProcessPollQueue({ ...callbacks, concurrency, log }),
    announcePush: async () => undefined,
    onPush: () => undefined,
    createLiveChangeLog: () => new MemoryLiveChangeLog(),
    isConnected: true,
    parts: [overrides],
  };
}

function privateServer({ listener, clients }: PrivateApi): Part {
  return {
    name: listener.name,
    async run(ready, signal) {
      await listener.run(ready, signal);
      clients.close();
    },
  };
}

function commander(own: AgentCommands, tracker: AgentTracker, privateApi: PrivateApi | undefined): UnitCommander {
  if (privateApi === undefined) return { send: async (agentId, unit, command) => own.send(agentId, unit, command) };
  const { listener, handlers, auth, clients } = privateApi;
  listener.serve([{ definition: AgentCommandsServiceService, handlers: createCommandsService(handlers, auth, own) }]);
  return new CommandRouter({ own, sessions: tracker, clients });
}
