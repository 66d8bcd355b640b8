import { UserError } from '../../lib/errors.ts';
import { createAgentToken } from '../registry/agent-tokens.ts';
import { parseCommandLine, required } from './command-line.ts';

export const TOKEN_USAGE = 'kas token create --registry FILE --agent NAME';

/** Makes an agent token: the token alone goes to standard output, what to do with it to standard error. */
export async function runToken(args: readonly string[]): Promise<void> {
  const [action, ...rest] = args;
  if (action !== 'create') throw new UserError(`unknown command "token ${action ?? ''}"\nUsage: ${TOKEN_USAGE}`);
  const values = parseCommandLine(rest, { registry: 'string', agent: 'string' }, TOKEN_USAGE);
  const agent = required(values, 'agent', TOKEN_USAGE);
  const token = await createAgentToken(required(values, 'registry', TOKEN_USAGE), agent);
  process.stdout.write(`${token}\n`);
  process.stderr.write(
    `This is the token of agent "${agent}". It is shown only now: put it, without a line break, into the agent's token file.\n`,
  );
}
