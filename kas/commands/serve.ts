import { UserError } from '../../lib/errors.ts';
import { createLogger } from '../../lib/log.ts';
import { runKas } from '../app.ts';
import { loadKasConfig } from '../config/load.ts';
import { parseCommandLine, required } from './command-line.ts';

export const SERVE_USAGE = 'kas serve --config FILE';

/** Serves until the signal fires. `--configuration-file` is the name of the option in GitLab's kas. */
export async function runServe(args: readonly string[], signal: AbortSignal): Promise<void> {
  const values = parseCommandLine(args, { config: 'string', 'configuration-file': 'string' }, SERVE_USAGE);
  if (values['config'] !== undefined && values['configuration-file'] !== undefined)
    throw new UserError('--config and --configuration-file are the same option: give one of them');
  const name = values['configuration-file'] === undefined ? 'config' : 'configuration-file';
  const config = await loadKasConfig(required(values, name, SERVE_USAGE));
  await runKas(config, createLogger('kas', config.observability.logLevel), signal);
}
