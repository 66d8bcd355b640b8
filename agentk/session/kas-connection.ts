import { type BidiCall, callBidi } from '../../lib/grpc/call.ts';
import { type ConnectRequest, type ConnectResponse, SessionClient } from '../../proto/gen/kas/agent/v1/session.ts';
import type { ServeRequest, ServeResponse } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { OpenGitlabCall } from '../gitlab-access/gitlab-access.ts';
import { createTunnelClient } from '../tunnel/tunnel-client.ts';
import { gitlabCallsOf } from './gitlab-calls.ts';
import { type ChannelSettings, type KasAddress, openKasChannel } from './kas-channel.ts';

/** One connection to kas with its session stream. Dispose it when the stream has ended; tunnels in use then go on. */
export interface KasConnection extends Disposable {
  readonly session: BidiCall<ConnectRequest, ConnectResponse>;
  /** Opens a stream for one request from kas. */
  openTunnel(signal: AbortSignal): BidiCall<ServeRequest, ServeResponse>;
  /** Opens a call for one request to GitLab. */
  readonly openGitlabCall: OpenGitlabCall;
}

/** Opens the session stream, on a connection of its own. */
export async function connectToKas(
  address: KasAddress,
  signal: AbortSignal,
  settings: ChannelSettings = {},
): Promise<KasConnection> {
  const channel = await openKasChannel(address, settings);
  const use = new SharedUse(() => channel[Symbol.dispose]());
  const client = new SessionClient(channel.target, channel.credentials, channel.options);
  const openGitlabCall = gitlabCallsOf(channel);
  const tunnels = createTunnelClient(channel.target, channel.credentials, channel.options);
  try {
    const session = callBidi<ConnectRequest, ConnectResponse>(
      (callMetadata, options) => client.connect(callMetadata, options),
      { metadata: channel.metadata },
      signal,
    );
    return {
      session,
      openTunnel: (tunnelSignal) => {
        const call = callBidi<ServeRequest, ServeResponse>(
          (callMetadata, options) => tunnels.serve(callMetadata, options),
          { metadata: channel.metadata },
          tunnelSignal,
        );
        return { ...call, responses: use.during(call.responses) };
      },
      openGitlabCall: (callSignal) => {
        const call = openGitlabCall(callSignal);
        return { ...call, responses: use.during(call.responses) };
      },
      [Symbol.dispose]: () => use.end(),
    };
  } catch (error) {
    channel[Symbol.dispose]();
    throw error;
  }
}

/**
 * Closes the connection when its session has ended and no tunnel is in use any more. Closing it earlier would let the streams go on
 * only until grpc-js sends its next keepalive ping, which fails on a connection that is closing and takes them all down.
 */
class SharedUse {
  readonly #close: () => void;
  #users = 1;
  #ended = false;

  constructor(close: () => void) {
    this.#close = close;
  }

  /** The connection stays for as long as these are read. */
  during<T>(responses: AsyncIterable<T>): AsyncIterable<T> {
    this.#users += 1;
    const left = (): void => this.#left();
    return (async function* read() {
      try {
        yield* responses;
      } finally {
        left();
      }
    })();
  }

  /** The session has ended. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#left();
  }

  #left(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#close();
  }
}
