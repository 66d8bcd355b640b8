import { GrpcListener } from '../../lib/grpc/listener.ts';
import type { ListenAddress } from '../../lib/listen-address.ts';

export interface PrivateListenerOptions {
  readonly address: ListenAddress;
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | undefined;
  readonly graceMs: number;
}

/** The port that other replicas call: commands for agents, and requests into clusters, chunked by whoever sends them. */
export function createPrivateListener({ address, tls, graceMs }: PrivateListenerOptions): GrpcListener {
  return new GrpcListener({ name: 'private API server', address, tls, graceMs });
}
