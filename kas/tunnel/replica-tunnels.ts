import { abortable } from '../../lib/abort.ts';
import { UnavailableError } from '../../lib/errors.ts';
import { type BidiCall, callBidi } from '../../lib/grpc/call.ts';
import { MessageQueue } from '../../lib/message-queue.ts';
import type { ServeResponse } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import { AgentTunnelsServiceClient, type ForwardRequest, type ForwardResponse } from '../../proto/gen/kas/private/v1/tunnels.ts';
import type { ReplicaClientPool } from '../private-api/replica-client-pool.ts';
import type { TunnelWire } from './agent-request.ts';
import type { TunnelUser } from './tunnel.ts';

/** Longer than the replica waits for its agent. */
const OPEN_TIMEOUT_MS = 6_000;

export interface ReplicaTunnelsDeps {
  readonly sessions: {
    /** Private addresses of the other replicas that have sessions with the agent. */
    replicasWith(agentId: number, signal: AbortSignal): Promise<readonly string[]>;
  };
  readonly clients: Pick<ReplicaClientPool, 'connect' | 'metadata'>;
}

/** A tunnel that ends at another replica. */
export interface RemoteTunnel extends TunnelWire {
  use(user: TunnelUser): void;
}

/** Tunnels of agents that are connected to other replicas. */
export class ReplicaTunnels {
  readonly #deps: ReplicaTunnelsDeps;

  constructor(deps: ReplicaTunnelsDeps) {
    this.#deps = deps;
  }

  /**
   * A tunnel of the first replica that has one; undefined when no other replica has a session with the agent. Rejects as the
   * last replica did when none gave one, and with the signal's reason.
   */
  async take(agentId: number, signal: AbortSignal): Promise<RemoteTunnel | undefined> {
    let failure: { readonly error: unknown } | undefined;
    for (const url of await this.#deps.sessions.replicasWith(agentId, signal)) {
      try {
        return await this.#open(url, agentId, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof UnavailableError)) throw error;
        failure = { error };
      }
    }
    if (failure !== undefined) throw failure.error;
    return undefined;
  }

  async #open(url: string, agentId: number, signal: AbortSignal): Promise<RemoteTunnel> {
    const { clients } = this.#deps;
    const { target, credentials, channel } = clients.connect(url);
    const client = new AgentTunnelsServiceClient(target, credentials, { channelOverride: channel });
    const controller = new AbortController();
    const call = callBidi<ForwardRequest, ForwardResponse>(
      (metadata, options) => client.forward(metadata, options),
      { metadata: await clients.metadata() },
      controller.signal,
    );
    const tunnel = new CallTunnel(call);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(OPEN_TIMEOUT_MS)]);
    try {
      tunnel.begin(agentId);
      await abortable(tunnel.opened, limit);
      return tunnel;
    } catch (error) {
      tunnel.close();
      call.cancel();
      signal.throwIfAborted();
      throw limit.aborted ? new UnavailableError('the replica of kas that the agent is connected to does not answer') : error;
    }
  }
}

class CallTunnel implements RemoteTunnel {
  readonly #call: BidiCall<ForwardRequest, ForwardResponse>;
  readonly #outgoing = new MessageQueue<ForwardRequest>();
  readonly #opened = Promise.withResolvers<void>();
  #user: TunnelUser | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(call: BidiCall<ForwardRequest, ForwardResponse>) {
    this.#call = call;
    this.#opened.promise.catch(() => undefined);
    void this.#read();
    void this.#write();
  }

  /** Resolves when the replica has found a tunnel. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  begin(agentId: number): void {
    this.#outgoing.push({ message: { $case: 'agentId', value: BigInt(agentId) } });
  }

  use(user: TunnelUser): void {
    this.#user = user;
    if (this.#failure !== undefined) user.fail(this.#failure.error);
  }

  send(value: ServeResponse): void {
    this.#outgoing.push({ message: { $case: 'toAgent', value } });
  }

  close(): void {
    this.#outgoing.end();
  }

  async #read(): Promise<void> {
    let ended: unknown = new UnavailableError('the agent ended the request');
    try {
      for await (const { message } of this.#call.responses) {
        if (message?.$case === 'opened') this.#opened.resolve();
        else if (message?.$case === 'fromAgent') this.#user?.receive(message.value);
      }
    } catch (error) {
      ended = error;
    }
    this.#failure = { error: ended };
    this.#opened.reject(ended);
    this.#user?.fail(ended);
    this.#outgoing.end();
  }

  /** How the call ends shows in what is read of it. */
  async #write(): Promise<void> {
    try {
      for await (const message of this.#outgoing) await this.#call.send(message);
      this.#call.end();
    } catch {
      this.#call.cancel();
    }
  }
}
