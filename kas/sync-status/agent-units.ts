import { newUnitRecord, type UnitRecord } from './unit-record.ts';
import type { UnitSourceState } from './unit-status.ts';

/** What is known of the units of one agent. A plain value: changes make another. */
export interface AgentUnits {
  /** Whether the agent's configuration said which units there are. */
  readonly configured: boolean;
  readonly units: ReadonlyMap<string, UnitRecord>;
}

export type UnitsChange = (before: AgentUnits) => AgentUnits;

export const NO_UNITS: AgentUnits = { configured: false, units: new Map() };

/** Units that an agent may report before its configuration was read. */
const MAX_UNCONFIRMED_UNITS = 1_000;

/** Name under which problems of the configuration itself are listed. */
const CONFIGURATION_UNIT = '';

/** The units of the configuration: new ones are empty, others are gone. */
export function configuredUnits(
  before: AgentUnits,
  wanted: readonly { readonly name: string; readonly project: string }[],
  now: Date,
): AgentUnits {
  const names = new Set(wanted.map(({ name }) => name));
  const units = new Map([...before.units].filter(([name]) => name === CONFIGURATION_UNIT || names.has(name)));
  for (const { name, project } of wanted) {
    const known = units.get(name);
    if (known === undefined) units.set(name, newUnitRecord(name, project, now));
    else if (known.project !== project) units.set(name, { ...known, project, updatedAt: now });
  }
  return { configured: true, units };
}

/** `undefined` when nothing is wrong with the configuration. */
export function withConfigurationState(before: AgentUnits, state: UnitSourceState | undefined, now: Date): AgentUnits {
  const units = new Map(before.units);
  if (state === undefined) {
    if (!units.delete(CONFIGURATION_UNIT)) return before;
    return { ...before, units };
  }
  const known = units.get(CONFIGURATION_UNIT) ?? newUnitRecord(CONFIGURATION_UNIT, state.project, now);
  units.set(CONFIGURATION_UNIT, { ...known, project: state.project, source: state, applied: state.rendered, updatedAt: now });
  return { ...before, units };
}

/** One unit after `change`. What is said of a unit that is not in the configuration is dropped. */
export function withChange(before: AgentUnits, unit: string, change: (record: UnitRecord) => UnitRecord, now: Date): AgentUnits {
  const known = before.units.get(unit);
  if (unit === CONFIGURATION_UNIT) return before;
  if (known === undefined && (before.configured || before.units.size >= MAX_UNCONFIRMED_UNITS)) return before;
  const record = known ?? newUnitRecord(unit, '', now);
  const after = change(record);
  if (after === record) return before;
  return { ...before, units: new Map(before.units).set(unit, { ...after, updatedAt: now }) };
}

/** Names of the units that differ, those that came or went included. */
export function changedUnits(before: AgentUnits, after: AgentUnits): readonly string[] {
  if (before === after) return [];
  const names = new Set([...before.units.keys(), ...after.units.keys()]);
  return [...names].filter((name) => before.units.get(name) !== after.units.get(name));
}
