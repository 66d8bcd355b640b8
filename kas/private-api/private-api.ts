import type { GrpcListener } from '../../lib/grpc/listener.ts';
import { Handlers } from '../../lib/grpc/serve.ts';
import type { Logger } from '../../lib/log.ts';
import type { PrivateApiConfig } from '../config/kas-config.ts';
import { ownPrivateUrl } from './own-url.ts';
import { PrivateAuth } from './private-auth.ts';
import { createPrivateListener } from './private-listener.ts';
import { ReplicaClientPool } from './replica-client-pool.ts';

/** Both ends of what replicas say to each other. A service on it authenticates every call by `auth`. */
export interface PrivateApi {
  readonly listener: GrpcListener;
  readonly handlers: Handlers;
  readonly auth: PrivateAuth;
  readonly clients: ReplicaClientPool;
  /** Where other replicas reach this one; known once it listens. */
  ownUrl(): Promise<string>;
}

export interface PrivateApiOptions {
  readonly graceMs: number;
  readonly log: Logger;
  /** OWN_PRIVATE_API_URL, OWN_PRIVATE_API_HOST, POD_IP. */
  readonly env: NodeJS.ProcessEnv;
}

/** Throws UserError when a file cannot be read, or when this replica's address cannot be told. */
export async function openPrivateApi(
  { listen }: PrivateApiConfig,
  { graceMs, log, env }: PrivateApiOptions,
): Promise<PrivateApi> {
  const { address, tls, authenticationSecretFile, caCertificateFile } = listen;
  const ownUrl = (port: number): string => ownPrivateUrl({ host: address.host, port }, tls !== undefined, env);
  ownUrl(address.port);
  const auth = await PrivateAuth.open(authenticationSecretFile);
  const clients = await ReplicaClientPool.open(auth, caCertificateFile, env);
  const listener = createPrivateListener({ address, tls, graceMs });
  return {
    listener,
    handlers: new Handlers(log, listener.draining),
    auth,
    clients,
    ownUrl: async () => ownUrl((await listener.address).port),
  };
}
