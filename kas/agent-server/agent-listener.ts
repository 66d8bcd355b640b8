import { framesInterceptor } from '../../lib/grpc/frames.ts';
import { GrpcListener } from '../../lib/grpc/listener.ts';
import { readPiecesInterceptor } from '../../lib/grpc/read-pieces.ts';
import type { ListenAddress } from '../../lib/listen-address.ts';

export interface AgentListenerOptions {
  readonly address: ListenAddress;
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  readonly graceMs: number;
}

/** The protocol's bound for one message. */
const MAX_MESSAGE_BYTES = 1 << 20;
/** Below the idle timeout of common load balancers; GitLab's kas pings as often. */
const KEEPALIVE_PERIOD_MS = 50_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
/** Of one connection, whoever opened it: an agent has a few, one of GitLab 13.8 one for each project. */
const MAX_CALLS = 1_000;

/** The port that agents connect to: gRPC, also in a WebSocket for networks that let nothing else through. */
export function createAgentListener({ address, tls, graceMs }: AgentListenerOptions): GrpcListener {
  return new GrpcListener({
    name: 'agent server',
    address,
    tls,
    graceMs,
    webSocketTunnel: true,
    serverOptions: {
      interceptors: [framesInterceptor, readPiecesInterceptor],
      // It would keep a record of each connection for nobody.
      'grpc.enable_channelz': 0,
      'grpc.keepalive_time_ms': KEEPALIVE_PERIOD_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc.max_concurrent_streams': MAX_CALLS,
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    },
  });
}
