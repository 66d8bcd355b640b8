import { callUnary } from '../../lib/grpc/call.ts';
import { AgentCommandsServiceClient } from '../../proto/gen/kas/private/v1/commands.ts';
import type { AgentCommands } from '../agent-session/agent-commands.ts';
import type { UnitCommand } from '../agent-session/agent-message.ts';
import { fromUnitCommand } from './commands-service.ts';
import type { ReplicaClientPool } from './replica-client-pool.ts';

export interface CommandRouterDeps {
  /** The sessions of this replica. */
  readonly own: AgentCommands;
  readonly sessions: SessionFinder;
  readonly clients: ReplicaClientPool;
}

export interface SessionFinder {
  /** Private addresses of the other replicas that have sessions with the agent. */
  replicasWith(agentId: number, signal: AbortSignal): Promise<readonly string[]>;
}

const CALL_TIMEOUT_MS = 5_000;

/** Brings commands to the sessions of an agent, whichever replicas have them. */
export class CommandRouter {
  readonly #deps: CommandRouterDeps;

  constructor(deps: CommandRouterDeps) {
    this.#deps = deps;
  }

  /**
   * To every session of the agent; false when it has none. UnavailableError when none took it and a replica that may have
   * one does not answer.
   */
  async send(agentId: number, unit: string, command: UnitCommand, signal: AbortSignal): Promise<boolean> {
    const { own, sessions } = this.#deps;
    const here = own.send(agentId, unit, command);
    let failure: { readonly error: unknown } | undefined;
    const fail = (error: unknown): false => {
      failure ??= { error };
      return false;
    };
    const forward = async (url: string): Promise<boolean> => await this.#forward(url, agentId, unit, command, signal).catch(fail);
    const there = await sessions
      .replicasWith(agentId, signal)
      .then(async (urls) => (await Promise.all(urls.map(forward))).includes(true))
      .catch(fail);
    if (!here && !there && failure !== undefined) throw failure.error;
    return here || there;
  }

  async #forward(url: string, agentId: number, unit: string, command: UnitCommand, signal: AbortSignal): Promise<boolean> {
    const { clients } = this.#deps;
    const { target, credentials, channel } = clients.connect(url);
    const client = new AgentCommandsServiceClient(target, credentials, { channelOverride: channel });
    const request = { agentId: BigInt(agentId), unit, command: fromUnitCommand(command) };
    const settings = { metadata: await clients.metadata(), timeoutMs: CALL_TIMEOUT_MS };
    return (await callUnary(client.sendUnitCommand.bind(client), request, settings, signal)).delivered;
  }
}
