import { UserError } from '../../lib/errors.ts';

/** Who asks for which agent, as the request says. Nothing of it is proved yet. */
export interface Credential {
  readonly agentId: number;
  readonly kind: 'job' | 'user';
  readonly token: string;
}

const KINDS: Readonly<Record<string, Credential['kind']>> = { ci: 'job', pat: 'user' };

/**
 * `Bearer ci:<agent id>:<job token>` or `Bearer pat:<agent id>:<personal access token>`, as GitLab has it. UserError
 * `unauthenticated` for everything else; it does not say what was sent.
 */
export function parseCredential(authorization: string | undefined): Credential {
  const [, scheme = '', agent = '', token = ''] = /^bearer +([a-z]+):(\d{1,15}):(\S+)$/i.exec(authorization ?? '') ?? [];
  const kind = KINDS[scheme];
  if (kind === undefined)
    throw new UserError('no usable credential: send "Authorization: Bearer ci:<agent id>:<token>" or "pat:<agent id>:<token>"', {
      kind: 'unauthenticated',
      reason: 'Unauthorized',
    });
  return { agentId: Number(agent), kind, token };
}
