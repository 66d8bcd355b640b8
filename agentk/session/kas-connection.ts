import { type BidiCall, callBidi } from '../../lib/grpc/call.ts';
import { type ConnectRequest, type ConnectResponse, SessionClient } from '../../proto/gen/kas/agent/v1/session.ts';
import type { ServeRequest, ServeResponse } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import { createTunnelClient } from '../tunnel/tunnel-client.ts';
import { type KasAddress, openKasChannel } from './kas-channel.ts';

/** One connection to kas with its session stream. Dispose it when the stream has ended; tunnels in use then go on. */
export interface KasConnection extends Disposable {
  readonly session: BidiCall<ConnectRequest, ConnectResponse>;
  /** Opens a stream for one request from kas. */
  openTunnel(signal: AbortSignal): BidiCall<ServeRequest, ServeResponse>;
}

/** Opens the session stream, on a connection of its own. */
export async function connectToKas(address: KasAddress, signal: AbortSignal): Promise<KasConnection> {
  const channel = await openKasChannel(address);
  const client = new SessionClient(channel.target, channel.credentials, channel.options);
  const tunnels = createTunnelClient(channel.target, channel.credentials, channel.options);
  try {
    const session = callBidi<ConnectRequest, ConnectResponse>(
      (callMetadata, options) => client.connect(callMetadata, options),
      { metadata: channel.metadata },
      signal,
    );
    return {
      session,
      openTunnel: (tunnelSignal) =>
        callBidi<ServeRequest, ServeResponse>(
          (callMetadata, options) => tunnels.serve(callMetadata, options),
          { metadata: channel.metadata },
          tunnelSignal,
        ),
      [Symbol.dispose]: () => channel[Symbol.dispose](),
    };
  } catch (error) {
    channel[Symbol.dispose]();
    throw error;
  }
}
