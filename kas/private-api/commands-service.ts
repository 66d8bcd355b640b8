import { UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type {
  AgentCommandsServiceServer,
  SendUnitCommandRequest,
  SendUnitCommandResponse,
} from '../../proto/gen/kas/private/v1/commands.ts';
import type { AgentCommands } from '../agent-session/agent-commands.ts';
import type { UnitCommand } from '../agent-session/agent-message.ts';
import type { PrivateAuth } from './private-auth.ts';

/** kas.private.v1.AgentCommandsService: commands for agents whose session is with this replica. */
export function createCommandsService(
  handlers: Handlers,
  auth: PrivateAuth,
  commands: AgentCommands,
): AgentCommandsServiceServer {
  async function sendUnitCommand(request: SendUnitCommandRequest, context: CallContext): Promise<SendUnitCommandResponse> {
    await auth.authenticate(context.metadata);
    return { delivered: commands.send(Number(request.agentId), request.unit, toUnitCommand(request)) };
  }
  return { sendUnitCommand: handlers.unary(sendUnitCommand) };
}

function toUnitCommand({ command }: SendUnitCommandRequest): UnitCommand {
  switch (command?.$case) {
    case 'resync':
      return { type: 'resync' };
    case 'confirmPrune':
      return { type: 'confirmPrune', bundleDigest: command.value.bundleDigest };
    case undefined:
      throw new UserError('this replica does not know the command; it is older than the one that sends it', {
        kind: 'unimplemented',
        reason: 'UnknownCommand',
      });
  }
}

export function fromUnitCommand(command: UnitCommand): SendUnitCommandRequest['command'] {
  switch (command.type) {
    case 'resync':
      return { $case: 'resync', value: {} };
    case 'confirmPrune':
      return { $case: 'confirmPrune', value: { bundleDigest: command.bundleDigest } };
  }
}
