import { UserError } from './errors.ts';

/**
 * Runs a program's main function and sets the exit code: 0 when it returns, 1 for a UserError (one clear line on
 * standard error) and for anything unexpected (with its stack, since that is a bug). The first SIGTERM or SIGINT fires
 * the signal, a second one ends the process at once.
 */
export async function runProgram(
  name: string,
  main: (args: readonly string[], signal: AbortSignal) => Promise<void>,
  args: readonly string[] = process.argv.slice(2),
): Promise<void> {
  const controller = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(1);
    controller.abort(new DOMException(`${signal} received`, 'AbortError'));
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  try {
    await main(args, controller.signal);
  } catch (error) {
    if (!(error === controller.signal.reason && controller.signal.aborted)) {
      process.stderr.write(`${name}: ${describe(error)}\n`);
      process.exitCode = 1;
    }
  } finally {
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
  }
}

function describe(error: unknown): string {
  if (error instanceof UserError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
