import type { AgentConfiguration, AgentUnit } from '../agent-session/agent-configuration.ts';

/** What people set for a unit beside its agent's configuration file, and over it. */
export interface UnitOverride {
  readonly suspension?: Suspension;
  readonly pin?: Pin;
}

export interface Suspension {
  readonly since: Date;
  readonly reason: string;
}

/** The unit is as it was at a commit. */
export interface Pin {
  readonly commitId: string;
  /** Undefined: until it is taken back. */
  readonly expiresAt: Date | undefined;
  readonly since: Date;
  readonly reason: string;
}

/** Overrides of all agents. They outlive kas. */
export interface UnitOverrides {
  /** By unit; pins that have expired are not among them. */
  of(agentId: number): ReadonlyMap<string, UnitOverride>;
  /** Merges into what is set; `undefined` takes back. Rejects with UserError when it cannot be stored: nothing changed then. */
  change(agentId: number, unit: string, change: UnitChange): Promise<void>;
  /** Calls `listener` after each change, and when a pin expires. The returned function ends it. */
  onChange(listener: (agentId: number) => void): () => void;
}

export interface UnitChange {
  readonly suspension?: Suspension | undefined;
  readonly pin?: Pin | undefined;
}

/** The configuration with the overrides on top. */
export function withOverrides(
  configuration: AgentConfiguration,
  overrides: ReadonlyMap<string, UnitOverride>,
): AgentConfiguration {
  if (overrides.size === 0) return configuration;
  const units = configuration.units.map((unit): AgentUnit => {
    const override = overrides.get(unit.name);
    if (override === undefined) return unit;
    return { ...unit, suspended: unit.suspended || override.suspension !== undefined, ref: override.pin?.commitId ?? unit.ref };
  });
  return { ...configuration, units };
}
