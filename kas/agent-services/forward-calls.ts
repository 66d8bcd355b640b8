import { type Metadata, status } from '@grpc/grpc-js';
import { isAbort, UserError } from '../../lib/errors.ts';
import type { CallContext } from '../../lib/grpc/serve.ts';
import { toStatus } from '../../lib/grpc/status.ts';
import type { Logger } from '../../lib/log.ts';
import type { LogFields } from '../../lib/log-fields.ts';
import type { Header } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import type { ApiAuth } from '../api-server/api-auth.ts';
import { type AgentRequests, callAgent } from './agent-call.ts';

/** Names the agent whose service is called. */
export const AGENT_ID_KEY = 'kas-agent-id';

/** Of the transport, or a credential for kas: not the agent's business. */
const KEPT_BACK = /^(?:grpc-|authorization$|te$|content-type$|user-agent$|kas-agent-id$)/;

export interface CallForwarderDeps {
  readonly auth: ApiAuth;
  readonly agents: AgentRequests;
  readonly log: Logger;
}

/** Calls of methods that kas itself does not have, for the services of agents. Each leaves a line in the log: who, what, how it ended. */
export class CallForwarder {
  readonly #deps: CallForwarderDeps;

  constructor(deps: CallForwarderDeps) {
    this.#deps = deps;
  }

  /** Answers as the agent does. Throws UserError `unauthenticated`, `unimplemented` without an agent in the metadata. */
  async *forward(method: string, messages: AsyncIterable<Buffer>, context: CallContext): AsyncGenerator<Buffer, void, void> {
    const { auth, agents, log } = this.#deps;
    const user = await auth.authenticate(context.metadata);
    const agentId = agentIdOf(context.metadata, method);
    const call = { method, metadata: passedOn(context.metadata), messages };
    const startedAt = performance.now();
    let end: LogFields = { outcome: 'ended early' };
    try {
      yield* callAgent(agents, agentId, call, context.signal);
      end = { status: 'OK' };
    } catch (error) {
      if (!isAbort(error, context.signal)) end = refused(error);
      throw error;
    } finally {
      const durationMs = Math.round(performance.now() - startedAt);
      log.info('Call of a service of an agent', { method, agentId, user, ...end, durationMs });
    }
  }
}

function refused(error: unknown): LogFields {
  const { code = status.UNKNOWN, details = '' } = toStatus(error);
  return { status: status[code], detail: details };
}

function agentIdOf(metadata: Metadata, method: string): number {
  const [value] = metadata.get(AGENT_ID_KEY);
  if (value === undefined) {
    const message = `kas has no method ${method}; for a service of an agent, name the agent in the metadata ${AGENT_ID_KEY}`;
    throw new UserError(message, { kind: 'unimplemented' });
  }
  const agentId = Number(value);
  if (!Number.isSafeInteger(agentId) || agentId <= 0) throw new UserError(`${AGENT_ID_KEY} is not the id of an agent`);
  return agentId;
}

function passedOn(metadata: Metadata): Header[] {
  return Object.keys(metadata.getMap())
    .filter((name) => !KEPT_BACK.test(name) && !name.endsWith('-bin'))
    .flatMap((name) => metadata.get(name).map((value) => ({ name, value: String(value) })));
}
