import { parseDuration } from '../../lib/duration.ts';
import { UserError } from '../../lib/errors.ts';
import { type AccessTokenOwner, createAccessToken, revokeAccessTokens } from '../registry/access-tokens.ts';
import { createAgentToken, revokeAgentTokens } from '../registry/agent-tokens.ts';
import { type OptionValues, parseCommandLine, required } from './command-line.ts';

export const TOKEN_USAGE = `kas token create --registry FILE --agent NAME
  kas token create --registry FILE --user NAME [--expires 24h]
  kas token create --registry FILE --project PATH [--environment NAME[:TIER]] [--protected] [--expires 24h]
  kas token revoke --registry FILE (--agent NAME | --user NAME | --project PATH)`;

const OPTIONS = {
  registry: 'string',
  agent: 'string',
  user: 'string',
  project: 'string',
  environment: 'string',
  protected: 'boolean',
  expires: 'string',
} as const;

/**
 * Makes the token of an agent, of a person, or of the CI jobs of a project: the token alone goes to standard output, what to
 * do with it to standard error. Or revokes all tokens of one of them, which for an agent ends its sessions.
 */
export async function runToken(args: readonly string[]): Promise<void> {
  const [action, ...rest] = args;
  if (action !== 'create' && action !== 'revoke')
    throw new UserError(`unknown command "token ${action ?? ''}"\nUsage: ${TOKEN_USAGE}`);
  const values = parseCommandLine(rest, OPTIONS, TOKEN_USAGE);
  const registry = required(values, 'registry', TOKEN_USAGE);
  const owner = accessOwner(values);
  const expires = expiry(values);
  if (owner === undefined) await agentToken(action, registry, values);
  else await accessToken(action, registry, owner, expires);
}

async function agentToken(action: 'create' | 'revoke', registry: string, values: OptionValues): Promise<void> {
  const agent = required(values, 'agent', TOKEN_USAGE);
  for (const option of ['environment', 'protected', 'expires'] as const)
    if (values[option] !== undefined) throw new UserError(`--${option} is not for agents\nUsage: ${TOKEN_USAGE}`);
  if (action === 'revoke') {
    process.stdout.write(`revoked ${await revokeAgentTokens(registry, agent)} tokens of agent "${agent}"\n`);
    return;
  }
  process.stdout.write(`${await createAgentToken(registry, agent)}\n`);
  process.stderr.write(
    `This is the token of agent "${agent}". It is shown only now: put it, without a line break, into the agent's token file.\n`,
  );
}

async function accessToken(
  action: 'create' | 'revoke',
  registry: string,
  owner: AccessTokenOwner,
  expires: Date | undefined,
): Promise<void> {
  const name = owner.kind === 'user' ? `user "${owner.username}"` : `the jobs of project "${owner.project}"`;
  if (action === 'revoke') {
    process.stdout.write(`revoked ${await revokeAccessTokens(registry, owner)} tokens of ${name}\n`);
    return;
  }
  process.stdout.write(`${await createAccessToken(registry, owner, expires)}\n`);
  const scheme = owner.kind === 'user' ? 'pat' : 'ci';
  process.stderr.write(
    `This is a token of ${name}. It is shown only now: kubectl is given "${scheme}:<agent id>:<this token>".\n`,
  );
}

function accessOwner(values: OptionValues): AccessTokenOwner | undefined {
  const { agent, user, project, environment } = values;
  const given = [agent, user, project].filter((value) => value !== undefined);
  if (given.length > 1) throw new UserError(`give one of --agent, --user and --project\nUsage: ${TOKEN_USAGE}`);
  if (user !== undefined) return { kind: 'user', username: required(values, 'user', TOKEN_USAGE) };
  if (project === undefined) return undefined;
  const [slug, tier = 'other'] = typeof environment === 'string' ? environment.split(':', 2) : [];
  return {
    kind: 'job',
    project: required(values, 'project', TOKEN_USAGE),
    protected: values['protected'] === true,
    environment: slug === undefined ? undefined : { slug, tier },
  };
}

function expiry({ expires }: OptionValues): Date | undefined {
  if (expires === undefined) return undefined;
  const ms = typeof expires === 'string' ? parseDuration(expires) : undefined;
  if (ms === undefined || ms === 0) throw new UserError(`--expires is a time like 24h or 30m\nUsage: ${TOKEN_USAGE}`);
  return new Date(Date.now() + ms);
}
