import { GrpcListener } from '../../lib/grpc/listener.ts';
import type { ListenAddress } from '../../lib/listen-address.ts';

export interface ApiListenerOptions {
  readonly address: ListenAddress;
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  readonly graceMs: number;
}

/** Requests are small; answers may list thousands of objects. */
const MAX_REQUEST_BYTES = 1 << 20;

/** The port that RoR and tools ask. */
export function createApiListener({ address, tls, graceMs }: ApiListenerOptions): GrpcListener {
  const serverOptions = { 'grpc.max_receive_message_length': MAX_REQUEST_BYTES };
  return new GrpcListener({ name: 'API server', address, tls, graceMs, serverOptions });
}
