import type { Metadata } from '@grpc/grpc-js';
import { UnavailableError, UserError } from '../../lib/errors.ts';
import type { CallContext, Handlers } from '../../lib/grpc/serve.ts';
import type { ServeRequest, ServeResponse, TunnelServer } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import { Tunnel } from './tunnel.ts';
import type { TunnelRegistry } from './tunnel-registry.ts';

export interface TunnelAuthenticator {
  /** Rejects with UserError `unauthenticated` or `forbidden`, or UnavailableError. */
  authenticate(metadata: Metadata, signal: AbortSignal): Promise<{ readonly agent: { readonly id: number } }>;
}

/** kas.agent.v1.Tunnel: agents bring their tunnels here. When `draining` fires those that wait are ended. */
export function createTunnelService(
  handlers: Handlers,
  authenticator: TunnelAuthenticator,
  registry: TunnelRegistry,
  draining: AbortSignal,
): TunnelServer {
  draining.addEventListener('abort', () => registry.drain(), { once: true });
  async function* serve(requests: AsyncIterable<ServeRequest>, context: CallContext): AsyncGenerator<ServeResponse> {
    const { agent } = await authenticator.authenticate(context.metadata, context.signal);
    const messages = requests[Symbol.asyncIterator]();
    const first = await messages.next();
    if (first.done === true || first.value.message?.$case !== 'ready')
      throw new UserError('a tunnel begins with ready', { reason: 'UnexpectedMessage' });
    const tunnel = new Tunnel(agent.id);
    const withdraw = registry.offer(tunnel);
    void read(messages, tunnel, withdraw);
    try {
      yield* tunnel.outgoing;
    } finally {
      withdraw();
    }
  }
  return { serve: handlers.bidi(serve) };
}

/** Hands on what the agent says until the stream has ended, which also ends the tunnel. */
async function read(messages: AsyncIterator<ServeRequest>, tunnel: Tunnel, withdraw: () => void): Promise<void> {
  let ended: unknown = new UnavailableError('the agent ended the request');
  try {
    while (true) {
      const next = await messages.next();
      if (next.done === true) break;
      tunnel.receive(next.value);
    }
  } catch (error) {
    ended = new UnavailableError('the connection to the agent was lost', { cause: error });
  }
  withdraw();
  tunnel.fail(ended);
  tunnel.close();
}
