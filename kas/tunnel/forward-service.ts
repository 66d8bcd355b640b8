import { UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import { MessageQueue } from '../../lib/message-queue.ts';
import type { AgentTunnelsServiceServer, ForwardRequest, ForwardResponse } from '../../proto/gen/kas/private/v1/tunnels.ts';
import type { PrivateAuth } from '../private-api/private-auth.ts';
import type { Tunnel } from './tunnel.ts';
import type { TunnelRegistry } from './tunnel-registry.ts';

/** kas.private.v1.AgentTunnelsService: requests of other replicas for agents that are connected to this one. */
export function createForwardService(
  handlers: Handlers,
  auth: Pick<PrivateAuth, 'authenticate'>,
  registry: TunnelRegistry,
): AgentTunnelsServiceServer {
  async function* forward(requests: AsyncIterable<ForwardRequest>, context: CallContext): AsyncGenerator<ForwardResponse> {
    await auth.authenticate(context.metadata);
    const messages = requests[Symbol.asyncIterator]();
    const tunnel = await registry.take(await agentIdOf(messages), context.signal);
    try {
      const answers = new MessageQueue<ForwardResponse>();
      tunnel.use({
        receive: (value) => answers.push({ message: { $case: 'fromAgent', value } }),
        fail: (error) => answers.fail(error),
      });
      void passOn(messages, tunnel).finally(() => answers.end());
      yield { message: { $case: 'opened', value: {} } };
      yield* answers;
    } finally {
      tunnel.close();
    }
  }
  return { forward: handlers.bidi(forward) };
}

async function agentIdOf(messages: AsyncIterator<ForwardRequest>): Promise<number> {
  const first = await messages.next();
  if (first.done === true || first.value.message?.$case !== 'agentId')
    throw new UserError('a forwarded request begins with the id of its agent', { reason: 'UnexpectedMessage' });
  return Number(first.value.message.value);
}

/** Until the other replica has ended the request, in whatever way: then the agent is told. */
async function passOn(messages: AsyncIterator<ForwardRequest>, tunnel: Tunnel): Promise<void> {
  try {
    while (true) {
      const next = await messages.next();
      if (next.done === true) break;
      if (next.value.message?.$case === 'toAgent') tunnel.send(next.value.message.value);
    }
  } catch {
    // The replica is gone, and with it the caller.
  }
  tunnel.close();
}
