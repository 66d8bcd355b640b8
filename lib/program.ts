import { UserError } from './errors.ts';

/** What is still open when a program is done has so long to end. */
const LINGER_MS = 1_000;
// Under `npm run` one Ctrl-C arrives twice: from the terminal and passed on by npm.
const SAME_KEY_PRESS_MS = 300;

/**
 * Runs a program's main function and sets the exit code: 0 when it returns, 1 for a UserError (one clear line on
 * standard error) and for anything unexpected (with its stack, since that is a bug). The first SIGTERM or SIGINT fires
 * the signal, a later one ends the process at once.
 */
export async function runProgram(
  name: string,
  main: (args: readonly string[], signal: AbortSignal) => Promise<void>,
  args: readonly string[] = process.argv.slice(2),
): Promise<void> {
  const controller = new AbortController();
  let firstAt = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      if (performance.now() - firstAt > SAME_KEY_PRESS_MS) process.exit(1);
      return;
    }
    firstAt = performance.now();
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
    // A library that goes on trying to reach what is away must not keep the process. The timer itself does not.
    setTimeout(() => process.exit(), LINGER_MS).unref();
  }
}

function describe(error: unknown): string {
  if (error instanceof UserError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
