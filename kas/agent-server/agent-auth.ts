import type { Metadata } from '@grpc/grpc-js';
import { UserError } from '../../lib/errors.ts';
import type { AgentInfo, Registry } from '../registry/registry.ts';

/** Finds out which agent calls, from metadata `authorization: Bearer <agent token>`. */
export class AgentAuth {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /**
   * Rejects with UserError `unauthenticated` for a missing or unknown token, `forbidden` for an agent that is barred,
   * and UnavailableError when the registry does not answer.
   */
  async authenticate(metadata: Metadata, signal: AbortSignal): Promise<{ readonly agent: AgentInfo; readonly token: string }> {
    const token = bearerToken(metadata);
    return { agent: await this.#registry.agentByToken(token, signal), token };
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
