import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../lib/errors.ts';
import { parseYamlConfig } from '../../lib/yaml-config.ts';
import { type Scenario, scenarioSchema } from './scenario-schema.ts';

/** What `${name}` stands for; `${n}` and `${commit.x}` are put in later. */
export type Placeholders = Readonly<Record<string, string>>;

const LATER = /^(?:n|commit\.[a-z0-9-]+)$/;

/** The scenario files of this folder, by name. */
export async function scenarioFiles(): Promise<readonly string[]> {
  const names = await readdir(import.meta.dirname);
  return names.filter((name) => name.endsWith('.yaml')).toSorted();
}

/** Strict: a mistake is a UserError with file, line, key and remedy. */
export async function readScenario(file: string, placeholders: Placeholders): Promise<Scenario> {
  return parseScenario(await readFile(join(import.meta.dirname, file), 'utf8'), file, placeholders);
}

export function parseScenario(source: string, file: string, placeholders: Placeholders): Scenario {
  const lines = source.split('\n').map((line, index) => fill(line, `${file}:${index + 1}`, placeholders));
  return parseYamlConfig(lines.join('\n'), file, scenarioSchema);
}

function fill(line: string, place: string, placeholders: Placeholders): string {
  return line.replace(/\$\{([^}]*)\}/g, (whole, name: string) => {
    if (LATER.test(name)) return whole;
    const value = placeholders[name];
    if (value !== undefined) return value;
    const known = [...Object.keys(placeholders), 'n', 'commit.NAME'].join(', ');
    throw new UserError(`${place}: unknown placeholder ${whole}; known are ${known}`, { reason: 'InvalidConfiguration' });
  });
}
