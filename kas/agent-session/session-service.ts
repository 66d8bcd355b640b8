import type { Metadata } from '@grpc/grpc-js';
import type { Frames } from '../../lib/grpc/frames.ts';
import type { PushCall, PushReceiver } from '../../lib/grpc/push-call.ts';
import type { Handlers } from '../../lib/grpc/serve.ts';
import type { ConnectRequest, ConnectResponse, SessionServer } from '../../proto/gen/kas/agent/v1/session.ts';
import type { AgentInfo } from '../registry/registry.ts';
import { Session, type SessionDeps } from './session.ts';
import { toAgentMessage, toConnectResponse } from './session-messages.ts';

export interface AgentAuthenticator {
  /** Rejects with UserError `unauthenticated`, `forbidden` or `exhausted`, or UnavailableError. */
  authenticate(metadata: Metadata, signal: AbortSignal): Promise<{ readonly agent: AgentInfo; readonly token: string }>;
  /** As `authenticate`, for a call that begins an agent's connection. */
  connect: AgentAuthenticator['authenticate'];
}

/** kas.agent.v1.Session: agents connect here. The listener must have `framesInterceptor`. */
export function createSessionService(handlers: Handlers, authenticator: AgentAuthenticator, deps: SessionDeps): SessionServer {
  return { connect: handlers.push((call) => new SessionCall(authenticator, deps, call)) };
}

type Call = PushCall<ConnectResponse | Frames>;

/** A call that becomes a session once the caller has proved who it is. */
class SessionCall implements PushReceiver<ConnectRequest> {
  readonly #call: Call;
  readonly #deps: SessionDeps;
  #session: Session | undefined;
  #opening: Promise<void> | undefined;
  #isOver = false;

  constructor(authenticator: AgentAuthenticator, deps: SessionDeps, call: Call) {
    this.#call = call;
    this.#deps = deps;
    this.#opening = this.#open(authenticator);
  }

  receive(request: ConnectRequest): Promise<void> | undefined {
    const message = toAgentMessage(request);
    if (this.#session !== undefined) return this.#session.receive(message);
    return this.#opening?.then(() => this.#session?.receive(message));
  }

  halfClosed(): void {
    if (this.#session !== undefined) this.#session.end();
    else void this.#opening?.then(() => this.#session?.end());
  }

  flushed(): void {
    this.#session?.flushed();
  }

  closed(): void {
    this.#isOver = true;
    this.#session?.closed().catch((error: unknown) => this.#deps.log.error('The end of a session failed', { err: error }));
  }

  /** Never rejects. */
  async #open(authenticator: AgentAuthenticator): Promise<void> {
    const call = this.#call;
    try {
      const { agent, token } = await authenticator.connect(call.metadata, call.signal);
      if (this.#isOver) return;
      this.#session = new Session(this.#deps, agent, token, {
        get pending() {
          return call.pending;
        },
        write: (message) => call.write('type' in message ? toConnectResponse(message) : message),
        end: () => call.end(),
        fail: (error) => call.fail(error),
      });
    } catch (error) {
      call.fail(error);
    } finally {
      this.#opening = undefined;
    }
  }
}
