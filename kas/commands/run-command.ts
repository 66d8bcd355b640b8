import { UserError } from '../../lib/errors.ts';
import { VERSION } from '../../lib/version.ts';
import { runServe, SERVE_USAGE } from './serve.ts';
import { runStatus, STATUS_USAGE } from './status.ts';
import { runToken, TOKEN_USAGE } from './token.ts';
import { runUnit, UNIT_USAGE } from './unit.ts';

const USAGE = `Usage:
  ${SERVE_USAGE}
  ${TOKEN_USAGE}
  ${STATUS_USAGE}
  ${UNIT_USAGE}
  kas version
`;

/** kas' command line. As GitLab's kas is started without a command, options alone mean `serve`. */
export async function runCommand(args: readonly string[], signal: AbortSignal): Promise<void> {
  const [command = '', ...rest] = args;
  switch (command) {
    case 'serve':
      return await runServe(rest, signal);
    case 'token':
      return await runToken(rest);
    case 'status':
      return await runStatus(rest, signal);
    case 'unit':
      return await runUnit(rest, signal);
    case 'version':
    case '--version':
      process.stdout.write(`${VERSION}\n`);
      return;
    case 'help':
    case '--help':
    case '-h':
      process.stdout.write(USAGE);
      return;
    default:
      if (command.startsWith('-')) return await runServe(args, signal);
      throw new UserError(command === '' ? `name a command\n${USAGE}` : `unknown command "${command}"\n${USAGE}`);
  }
}
