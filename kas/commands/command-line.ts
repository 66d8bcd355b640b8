import { parseArgs } from 'node:util';
import { UserError } from '../../lib/errors.ts';

export type OptionValues = Readonly<Record<string, string | boolean | undefined>>;

/** Options by name, nothing else allowed. UserError with the usage when the command line is wrong. */
export function parseCommandLine(
  args: readonly string[],
  options: Readonly<Record<string, 'string' | 'boolean'>>,
  usage: string,
): OptionValues {
  const config = Object.fromEntries(Object.entries(options).map(([name, type]) => [name, { type }]));
  try {
    return parseArgs({ args: [...args], options: config, allowPositionals: false, strict: true }).values as OptionValues;
  } catch (error) {
    throw new UserError(`${(error as Error).message}\nUsage: ${usage}`, { cause: error });
  }
}

/** The text of an option. UserError when it was not given. */
export function required(values: OptionValues, name: string, usage: string): string {
  const value = values[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new UserError(`--${name} is missing\nUsage: ${usage}`);
}
