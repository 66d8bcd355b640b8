import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { aborted } from '../../lib/abort.ts';
import { toError, UserError } from '../../lib/errors.ts';
import { replaceFile } from '../../lib/replace-file.ts';
import type { Part } from '../../lib/stages.ts';
import type { UnitChange, UnitOverride, UnitOverrides } from './unit-overrides.ts';

const date = z.iso.datetime().transform((text) => new Date(text));

const schema = z.strictObject({
  version: z.int().min(0).default(0),
  units: z.array(
    z.strictObject({
      agentId: z.int(),
      unit: z.string(),
      suspension: z.strictObject({ since: date, reason: z.string() }).optional(),
      pin: z.strictObject({ commitId: z.string(), expiresAt: date.optional(), since: date, reason: z.string() }).optional(),
    }),
  ),
});

/** Timers hold at most this many milliseconds; a pin that lasts longer is looked at again then. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Overrides of all agents, by agent and unit. Each change makes a greater version. */
export interface OverridesState {
  readonly version: number;
  readonly agents: ReadonlyMap<number, ReadonlyMap<string, UnitOverride>>;
}

/** Overrides in a file of one kas. What is read is what was stored: a change counts when it is on disk. */
export class FileUnitOverrides implements UnitOverrides, Part {
  readonly name = 'unit overrides';
  readonly #file: string;
  readonly #now: () => number;
  readonly #listeners = new Set<(agentId: number) => void>();
  #state: OverridesState;
  #turn: Promise<unknown> = Promise.resolve();
  #expiry: NodeJS.Timeout | undefined;

  private constructor(file: string, state: OverridesState, now: () => number) {
    this.#file = file;
    this.#state = state;
    this.#now = now;
  }

  /** No file is an empty one. UserError when there is one that does not hold what `change` writes. */
  static async open(file: string, now: () => number = Date.now): Promise<FileUnitOverrides> {
    return new FileUnitOverrides(file, await read(file), now);
  }

  async run(ready: () => void, signal: AbortSignal): Promise<void> {
    this.#expire();
    ready();
    await aborted(signal);
    clearTimeout(this.#expiry);
    await this.#turn;
  }

  of(agentId: number): ReadonlyMap<string, UnitOverride> {
    return validOverrides(this.#state, agentId, this.#now());
  }

  async change(agentId: number, unit: string, change: UnitChange): Promise<void> {
    const turn = this.#turn.then(() => this.#change(agentId, unit, change));
    this.#turn = turn.catch(() => undefined);
    await turn;
  }

  onChange(listener: (agentId: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What is stored, pins that have expired included. */
  get state(): OverridesState {
    return this.#state;
  }

  /** Takes over another state, whatever its version. Rejects as `change` does. */
  async replace(state: OverridesState): Promise<void> {
    const turn = this.#turn.then(() => this.#store(state));
    this.#turn = turn.catch(() => undefined);
    await turn;
  }

  async #change(agentId: number, unit: string, change: UnitChange): Promise<void> {
    await this.#store(withUnitChange(this.#state, agentId, unit, change, this.#now()));
  }

  async #store(state: OverridesState): Promise<void> {
    await write(this.#file, state);
    const before = this.#state;
    this.#state = state;
    this.#expire();
    for (const agentId of new Set([...before.agents.keys(), ...state.agents.keys()]))
      if (JSON.stringify([...(before.agents.get(agentId) ?? [])]) !== JSON.stringify([...(state.agents.get(agentId) ?? [])]))
        this.#tell(agentId);
  }

  /** Sets the timer for the pins that expire next. */
  #expire(): void {
    clearTimeout(this.#expiry);
    const since = this.#now();
    const ends = [...this.#state.agents].flatMap(([agentId, units]) =>
      [...units.values()].flatMap(({ pin }) => (pin?.expiresAt === undefined ? [] : [{ agentId, at: pin.expiresAt.getTime() }])),
    );
    const coming = ends.filter(({ at }) => at > since);
    if (coming.length === 0) return;
    const next = Math.min(...coming.map(({ at }) => at));
    this.#expiry = setTimeout(
      () => {
        // Several may end at once, or while the timer was late.
        const ended = coming.filter(({ at }) => at <= this.#now());
        this.#expire();
        for (const agentId of new Set(ended.map((end) => end.agentId))) this.#tell(agentId);
      },
      Math.min(next - since, LONGEST_TIMER_MS),
    );
  }

  #tell(agentId: number): void {
    for (const listener of this.#listeners) listener(agentId);
  }
}

/** The next version, without what has expired of the agent. */
export function withUnitChange(
  { version, agents }: OverridesState,
  agentId: number,
  unit: string,
  change: UnitChange,
  nowMs: number,
): OverridesState {
  const units = new Map(validOverrides({ version, agents }, agentId, nowMs));
  const { suspension, pin } = { ...units.get(unit), ...change };
  if (suspension === undefined && pin === undefined) units.delete(unit);
  else units.set(unit, { ...(suspension === undefined ? {} : { suspension }), ...(pin === undefined ? {} : { pin }) });
  return { version: version + 1, agents: new Map(agents).set(agentId, units) };
}

function validOverrides({ agents }: OverridesState, agentId: number, nowMs: number): ReadonlyMap<string, UnitOverride> {
  const units = new Map<string, UnitOverride>();
  for (const [unit, override] of agents.get(agentId) ?? []) {
    const valid = withoutExpired(override, nowMs);
    if (valid !== undefined) units.set(unit, valid);
  }
  return units;
}

function withoutExpired({ suspension, pin }: UnitOverride, nowMs: number): UnitOverride | undefined {
  const valid = pin?.expiresAt !== undefined && pin.expiresAt.getTime() <= nowMs ? undefined : pin;
  if (suspension === undefined && valid === undefined) return undefined;
  return { ...(suspension === undefined ? {} : { suspension }), ...(valid === undefined ? {} : { pin: valid }) };
}

async function read(file: string): Promise<OverridesState> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { version: 0, agents: new Map() };
    throw new UserError(`Cannot read the overrides of units ${file}: ${toError(error).message}`, {
      reason: 'FileUnreadable',
      cause: error,
    });
  }
  try {
    return overridesFromText(text);
  } catch (error) {
    throw new UserError(`${file}:1: this is not a file of unit overrides; restore it, or remove it and set them anew.`, {
      reason: 'InvalidUnitOverrides',
      cause: error,
    });
  }
}

/** Throws when the text is not what `overridesToText` makes. */
export function overridesFromText(text: string): OverridesState {
  const { version, units } = schema.parse(JSON.parse(text));
  const agents = new Map<number, Map<string, UnitOverride>>();
  for (const { agentId, unit, suspension, pin } of units) {
    const byUnit = agents.get(agentId) ?? new Map<string, UnitOverride>();
    agents.set(agentId, byUnit);
    byUnit.set(unit, {
      ...(suspension === undefined ? {} : { suspension }),
      ...(pin === undefined ? {} : { pin: { ...pin, expiresAt: pin.expiresAt } }),
    });
  }
  return { version, agents };
}

export function overridesToText({ version, agents }: OverridesState): string {
  const units = [...agents].flatMap(([agentId, byUnit]) =>
    [...byUnit].map(([unit, override]) => ({ agentId, unit, ...override })),
  );
  return JSON.stringify({ version, units }, undefined, 2);
}

async function write(file: string, state: OverridesState): Promise<void> {
  try {
    await replaceFile(file, `${overridesToText(state)}\n`);
  } catch (error) {
    throw new UserError(`Cannot write the overrides of units ${file}: ${toError(error).message}`, {
      kind: 'precondition',
      reason: 'FileUnwritable',
      cause: error,
    });
  }
}
