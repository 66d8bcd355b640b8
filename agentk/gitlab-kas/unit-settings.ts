import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { UserError } from '../../lib/errors.ts';
import { healthRule, healthRuleOf } from '../../lib/health-rule-schema.ts';
import type { HealthRule, UnitPolicy } from '../../lib/unit-policy.ts';
import { defaultNamespace, policyOf, type UnitPolicyEntry, unitPolicyShape } from '../../lib/unit-policy-schema.ts';
import { parseYamlConfig } from '../../lib/yaml-config.ts';

/** What a kas of GitLab does not tell an agent: it refuses a configuration with keys that it does not know. */
export interface UnitSettings {
  readonly healthRules: readonly HealthRule[];
  policyFor(project: string): UnitPolicy;
}

/** The policy keys, none of which has to be there. */
const someKeys = z.strictObject(
  Object.fromEntries(Object.entries(unitPolicyShape).map(([key, field]) => [key, withoutDefault(field).optional()])),
);

const settingsFile = z.strictObject({
  defaults: someKeys.prefault({}),
  units: z.record(z.string().min(1, 'is empty; name a project by its full path'), someKeys).default({}),
  health_rules: z.array(healthRule).default([]),
});

const DEFAULTS = z.strictObject({ default_namespace: defaultNamespace, ...unitPolicyShape }).parse({});

/** Reads the file of `--unit-settings`; the defaults without one. UserError, with file and line of each problem, when it cannot be used. */
export async function readUnitSettings(file: string | undefined): Promise<UnitSettings> {
  if (file === undefined) return parseUnitSettings('', '');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new UserError(`cannot read the unit settings: ${(error as Error).message}`, {
      reason: 'UnreadableFile',
      cause: error,
    });
  }
  return parseUnitSettings(text, file);
}

export function parseUnitSettings(text: string, file: string): UnitSettings {
  const { defaults, units, health_rules } = parseYamlConfig(text, file, settingsFile);
  const healthRules = health_rules.map(healthRuleOf);
  return {
    healthRules,
    policyFor(project) {
      const own = Object.hasOwn(units, project) ? units[project] : {};
      return policyOf({ ...DEFAULTS, ...given(defaults), ...given(own) });
    },
  };
}

/** Checked by `someKeys`, whose fields are those of the entry. */
function given(keys: Readonly<Record<string, unknown>> | undefined): Partial<UnitPolicyEntry> {
  return Object.fromEntries(Object.entries(keys ?? {}).filter(([, value]) => value !== undefined));
}

function withoutDefault(field: z.ZodType): z.ZodType {
  return field instanceof z.ZodDefault || field instanceof z.ZodPrefault ? (field.unwrap() as z.ZodType) : field;
}
