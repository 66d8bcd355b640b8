import { UserError } from '../../lib/errors.ts';
import { createAgentToken, revokeAgentTokens } from '../registry/agent-tokens.ts';
import { parseCommandLine, required } from './command-line.ts';

export const TOKEN_USAGE = 'kas token create|revoke --registry FILE --agent NAME';

/**
 * Makes an agent token: the token alone goes to standard output, what to do with it to standard error. Or revokes all
 * tokens of an agent, which ends its sessions.
 */
export async function runToken(args: readonly string[]): Promise<void> {
  const [action, ...rest] = args;
  if (action !== 'create' && action !== 'revoke')
    throw new UserError(`unknown command "token ${action ?? ''}"\nUsage: ${TOKEN_USAGE}`);
  const values = parseCommandLine(rest, { registry: 'string', agent: 'string' }, TOKEN_USAGE);
  const agent = required(values, 'agent', TOKEN_USAGE);
  const registry = required(values, 'registry', TOKEN_USAGE);
  if (action === 'revoke') {
    process.stdout.write(`revoked ${await revokeAgentTokens(registry, agent)} tokens of agent "${agent}"\n`);
    return;
  }
  const token = await createAgentToken(registry, agent);
  process.stdout.write(`${token}\n`);
  process.stderr.write(
    `This is the token of agent "${agent}". It is shown only now: put it, without a line break, into the agent's token file.\n`,
  );
}
