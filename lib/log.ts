import { type DestinationStream, pino } from 'pino';
import type { LogFields } from './log-fields.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * Structured log: constant text, variables as fields.
 * Info: something changed. Debug: nothing did. Warn: will be tried again. Error: needs a person.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  child(fields: LogFields): Logger;
  setLevel(level: LogLevel): void;
}

/** JSON lines, on standard error unless told otherwise. `setLevel` holds for the logger and all its children. */
export function createLogger(
  name: string,
  level: LogLevel,
  destination: DestinationStream = pino.destination({ fd: 2, sync: true }),
): Logger {
  const root = pino(
    {
      name,
      level: 'debug',
      base: { name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return wrap(root, { level });
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

function wrap(target: pino.Logger, shared: { level: LogLevel }): Logger {
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      if (RANK[level] >= RANK[shared.level]) target[level](fields, message);
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => wrap(target.child(fields), shared),
    setLevel: (level) => {
      shared.level = level;
    },
  };
}
