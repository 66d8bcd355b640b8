import type { Logger } from '../lib/log.ts';
import type { Part } from '../lib/stages.ts';
import { AgentCommandsServiceService } from '../proto/gen/kas/private/v1/commands.ts';
import { AgentCommands } from './agent-session/agent-commands.ts';
import type { AgentTracker } from './agent-tracker/agent-tracker.ts';
import { MemoryAgentTracker } from './agent-tracker/memory-agent-tracker.ts';
import type { UnitCommander } from './api-server/units-service.ts';
import type { KasConfig } from './config/kas-config.ts';
import { CommandRouter } from './private-api/command-router.ts';
import { createCommandsService } from './private-api/commands-service.ts';
import { openPrivateApi, type PrivateApi } from './private-api/private-api.ts';
import { MemoryStatusStore } from './sync-status/memory-status-store.ts';
import type { StatusStore } from './sync-status/status-store.ts';
import { FileUnitOverrides } from './unit-operations/file-unit-overrides.ts';

/** What the replicas of a kas have in common; with one replica, what its parts have in common. */
export interface SharedState {
  readonly tracker: AgentTracker & { readonly size: number };
  readonly store: StatusStore;
  readonly overrides: FileUnitOverrides;
  /** Sessions of this replica. */
  readonly agentCommands: AgentCommands;
  /** Sessions of all replicas. */
  readonly commands: UnitCommander;
  /** Undefined for a kas that is alone. Further services go on its listener before it runs. */
  readonly privateApi: PrivateApi | undefined;
  /** Run before what uses the state, and end after it. */
  readonly parts: readonly Part[];
  /** Run together with the other servers. */
  readonly servers: readonly Part[];
}

export interface SharedStateOptions {
  readonly graceMs: number;
  readonly log: Logger;
}

/** Throws UserError when something that the configuration names cannot be used. */
export async function openSharedState(config: KasConfig, { graceMs, log }: SharedStateOptions): Promise<SharedState> {
  const agentCommands = new AgentCommands();
  const tracker = new MemoryAgentTracker();
  const privateApi =
    config.privateApi === undefined ? undefined : await openPrivateApi(config.privateApi, { graceMs, log, env: process.env });
  const overrides = await FileUnitOverrides.open(config.agent.gitops.overridesFile);
  return {
    tracker,
    store: new MemoryStatusStore(),
    overrides,
    agentCommands,
    commands: commander(agentCommands, tracker, privateApi),
    privateApi,
    parts: [overrides],
    servers: privateApi === undefined ? [] : [privateServer(privateApi)],
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
