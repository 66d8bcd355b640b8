import { type CallOptions, Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';

const GZIP = { 'grpc.default_compression_algorithm': 2 } as const;

export interface ProbeCall {
  readonly method: string;
  /** Serialized messages. */
  readonly requests: readonly Buffer[];
  readonly authorization?: string | undefined;
  /** The caller leaves when nothing came for so long. */
  readonly leaveAfterMs?: number;
  /** Fires when the caller leaves. */
  readonly signal?: AbortSignal;
}

export interface ProbeAnswer {
  readonly code: number;
  readonly details: string;
  readonly responses: readonly Buffer[];
}

export const METHODS = {
  configuration: '/gitlab.agent.agent_configuration.rpc.AgentConfiguration/GetConfiguration',
  objects: '/gitlab.agent.gitops.rpc.Gitops/GetObjectsToSynchronize',
  makeRequest: '/gitlab.agent.gitlab_access.rpc.GitlabAccess/MakeRequest',
  connectedAgents: '/gitlab.agent.agent_tracker.rpc.AgentTracker/GetConnectedAgents',
} as const;

/** Makes one call on a connection of its own, compressed as agentk does it. */
export async function probe(address: string, call: ProbeCall): Promise<ProbeAnswer> {
  const client = new Client(address, credentials.createInsecure(), { ...GZIP, 'grpc.use_local_subchannel_pool': 1 });
  const metadata = new Metadata();
  if (call.authorization !== undefined) metadata.set('authorization', call.authorization);
  const options: Partial<CallOptions> = { deadline: Date.now() + 60_000 };
  const same = (bytes: Buffer): Buffer => bytes;
  const stream = client.makeBidiStreamRequest(call.method, same, same, metadata, options);
  const { promise, resolve } = Promise.withResolvers<ProbeAnswer>();
  const responses: Buffer[] = [];
  const leave = (): void => stream.cancel();
  let timer = setTimeout(leave, call.leaveAfterMs ?? 60_000);
  call.signal?.addEventListener('abort', leave, { once: true });
  stream.on('data', (response: Buffer) => {
    responses.push(response);
    clearTimeout(timer);
    timer = setTimeout(leave, call.leaveAfterMs ?? 60_000);
  });
  stream.on('error', (error: ServiceError) => resolve({ code: error.code, details: error.details, responses }));
  stream.on('status', ({ code, details }) => resolve({ code, details, responses }));
  for (const request of call.requests) stream.write(request);
  stream.end();
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    client.close();
  }
}
