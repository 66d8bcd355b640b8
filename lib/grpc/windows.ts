import type { Http2Server } from 'node:http2';
import { type ChannelOptions, Server, type ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { keepalivePeriodMs } from './keepalive.ts';

/**
 * Flow-control window of a stream and of its connection, in bytes. The default of HTTP/2, 64 KiB a round trip, allows
 * 1.3 MB/s at 50 ms; 8 MiB allows more than 100 MB/s and bounds what a slow reader can make the other side hold.
 */
export const WINDOW_BYTES = 8 << 20;

/** Client options that open the window for what the client receives. */
export const CLIENT_WINDOW: ChannelOptions = { 'grpc-node.flow_control_window': WINDOW_BYTES };

/**
 * A grpc-js server whose receive windows are open. grpc-js honours its window option in clients only, so the server's
 * HTTP/2 sessions get theirs here, stream and connection both. Its keepalive pings come at a time of each connection's own.
 */
export class WindowedServer extends Server {
  constructor(serverOptions: ServerOptions = {}) {
    super(serverOptions);
    const keepaliveMs = serverOptions['grpc.keepalive_time_ms'];
    // grpc-js looks here whenever it begins to wait for the next ping of a connection.
    if (keepaliveMs !== undefined) Object.defineProperty(this, 'keepaliveTimeMs', { get: () => keepalivePeriodMs(keepaliveMs) });
    const self = this as unknown as { createHttp2Server(credentials: ServerCredentials): Http2Server };
    const create = self.createHttp2Server.bind(this);
    self.createHttp2Server = (credentials) => {
      const server = create(credentials);
      server.on('session', (session) => {
        session.settings({ initialWindowSize: WINDOW_BYTES });
        session.setLocalWindowSize(WINDOW_BYTES);
      });
      return server;
    };
  }
}
