import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, type WebSocket } from 'ws';
import { socketPair } from './socket-pair.ts';

/** The WebSocket subprotocol of gRPC in a tunnel: HTTP/2 as one stream of bytes inside binary messages, whose bounds mean nothing. */
export const TUNNEL_PROTOCOL = 'ws-tunnel';
/** Of one WebSocket message; GitLab's kas allows as much. */
export const MAX_TUNNEL_MESSAGE_BYTES = 10 << 20;

/**
 * What runs in the tunnel, as a socket. Either of the two ends with the other.
 * @param incoming applied to what comes out of the tunnel
 */
export async function tunnelSocket(webSocket: WebSocket, incoming?: Duplex): Promise<Socket> {
  const stream = createWebSocketStream(webSocket);
  stream.on('error', () => stream.destroy());
  const [near, far] = await socketPair();
  if (stream.destroyed) {
    near.destroy();
    far.destroy();
    throw new Error('the WebSocket was closed before it was used');
  }
  near.on('error', () => near.destroy());
  near.once('close', () => stream.destroy());
  stream.once('close', () => near.destroySoon());
  incoming?.on('error', () => near.destroy());
  // What one of them said last still arrives.
  (incoming === undefined ? stream : stream.pipe(incoming)).pipe(near).pipe(stream);
  return far;
}
