import type { Metadata } from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';
import type { AgentInfo, Registry } from '../registry/registry.ts';
import type { AgentLimits } from './agent-limits.ts';

export interface AuthenticatedAgent {
  readonly agent: AgentInfo;
  readonly token: string;
}

/** Finds out which agent calls, from metadata `authorization: Bearer <agent token>`. */
export class AgentAuth {
  readonly #registry: Registry;
  readonly #limits: AgentLimits;

  constructor(registry: Registry, limits: AgentLimits) {
    this.#registry = registry;
    this.#limits = limits;
  }

  /** As `authenticate`, for a call that begins an agent's connection; those with one token are limited in number. */
  async connect(metadata: Metadata, signal: AbortSignal): Promise<AuthenticatedAgent> {
    this.#limits.connect(bearerToken(metadata));
    return await this.authenticate(metadata, signal);
  }

  /**
   * Rejects with UserError `unauthenticated` for a missing or unknown token, `forbidden` for an agent that is barred,
   * `exhausted` for one that takes too much, and UnavailableError when the registry does not answer.
   * @param signal fires when the call is over: until then it counts as one of the agent's
   */
  async authenticate(metadata: Metadata, signal: AbortSignal): Promise<AuthenticatedAgent> {
    const token = bearerToken(metadata);
    const agent = await this.#registry.agentByToken(token, signal);
    this.#limits.open(agent.id, signal);
    return { agent, token };
  }
}

/** The scheme is compared without regard to case; the token is taken as it is. */
export function bearerToken(metadata: Metadata): string {
  const values = metadata.get('authorization');
  if (values.length === 0)
    throw new UserError('no agent token: send it as metadata "authorization: Bearer <token>"', {
      kind: 'unauthenticated',
      reason: 'TokenMissing',
    });
  const match = /^bearer +(\S.*)$/i.exec(String(values[0]));
  if (values.length > 1 || match?.[1] === undefined)
    throw new UserError('malformed credential: metadata "authorization" must be "Bearer <token>", once', {
      kind: 'unauthenticated',
      reason: 'TokenMalformed',
    });
  return match[1];
}
