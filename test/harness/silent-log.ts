import type { Logger } from '../../lib/log.ts';

/** Where what is logged is of no interest, and would only fill the output of the tests. */
export const silentLog: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
  setLevel: () => undefined,
};
