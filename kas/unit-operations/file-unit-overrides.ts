import { open, readFile, rename, rm } from 'node:fs/promises';
import { z } from 'zod';
import { aborted } from '../../lib/abort.ts';
import { toError, UserError } from '../../lib/errors.ts';
import type { Part } from '../../lib/stages.ts';
import type { UnitChange, UnitOverride, UnitOverrides } from './unit-overrides.ts';

const date = z.iso.datetime().transform((text) => new Date(text));

const schema = z.strictObject({
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

/** Overrides in a file of one kas. What is read is what was stored: a change counts when it is on disk. */
export class FileUnitOverrides implements UnitOverrides, Part {
  readonly name = 'unit overrides';
  readonly #file: string;
  readonly #now: () => number;
  readonly #listeners = new Set<(agentId: number) => void>();
  #agents: ReadonlyMap<number, ReadonlyMap<string, UnitOverride>>;
  #turn: Promise<unknown> = Promise.resolve();
  #expiry: NodeJS.Timeout | undefined;

  private constructor(file: string, agents: ReadonlyMap<number, ReadonlyMap<string, UnitOverride>>, now: () => number) {
    this.#file = file;
    this.#agents = agents;
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
    const units = new Map<string, UnitOverride>();
    for (const [unit, override] of this.#agents.get(agentId) ?? []) {
      const valid = withoutExpired(override, this.#now());
      if (valid !== undefined) units.set(unit, valid);
    }
    return units;
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

  async #change(agentId: number, unit: string, change: UnitChange): Promise<void> {
    const units = new Map(this.of(agentId));
    const { suspension, pin } = { ...units.get(unit), ...change };
    if (suspension === undefined && pin === undefined) units.delete(unit);
    else units.set(unit, { ...(suspension === undefined ? {} : { suspension }), ...(pin === undefined ? {} : { pin }) });
    const agents = new Map(this.#agents).set(agentId, units);
    await write(this.#file, agents);
    this.#agents = agents;
    this.#expire();
    this.#tell(agentId);
  }

  /** Sets the timer for the pins that expire next. */
  #expire(): void {
    clearTimeout(this.#expiry);
    const since = this.#now();
    const ends = [...this.#agents].flatMap(([agentId, units]) =>
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

function withoutExpired({ suspension, pin }: UnitOverride, nowMs: number): UnitOverride | undefined {
  const valid = pin?.expiresAt !== undefined && pin.expiresAt.getTime() <= nowMs ? undefined : pin;
  if (suspension === undefined && valid === undefined) return undefined;
  return { ...(suspension === undefined ? {} : { suspension }), ...(valid === undefined ? {} : { pin: valid }) };
}

async function read(file: string): Promise<ReadonlyMap<number, ReadonlyMap<string, UnitOverride>>> {
  const agents = new Map<number, Map<string, UnitOverride>>();
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return agents;
    throw new UserError(`Cannot read the overrides of units ${file}: ${toError(error).message}`, {
      reason: 'FileUnreadable',
      cause: error,
    });
  }
  for (const { agentId, unit, suspension, pin } of parse(text, file).units) {
    const units = agents.get(agentId) ?? new Map<string, UnitOverride>();
    agents.set(agentId, units);
    units.set(unit, {
      ...(suspension === undefined ? {} : { suspension }),
      ...(pin === undefined ? {} : { pin: { ...pin, expiresAt: pin.expiresAt } }),
    });
  }
  return agents;
}

function parse(text: string, file: string): z.output<typeof schema> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new UserError(`${file}:1: this is not a file of unit overrides; restore it, or remove it and set them anew.`, {
      reason: 'InvalidUnitOverrides',
      cause: error,
    });
  }
}

/** Readers see the old file or the new one, never a part. */
async function write(file: string, agents: ReadonlyMap<number, ReadonlyMap<string, UnitOverride>>): Promise<void> {
  const units = [...agents].flatMap(([agentId, byUnit]) =>
    [...byUnit].map(([unit, override]) => ({ agentId, unit, ...override })),
  );
  const temporary = `${file}.new`;
  try {
    await using handle = await open(temporary, 'w', 0o600);
    await handle.writeFile(`${JSON.stringify({ units }, undefined, 2)}\n`);
    await handle.sync();
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new UserError(`Cannot write the overrides of units ${file}: ${toError(error).message}`, {
      kind: 'precondition',
      reason: 'FileUnwritable',
      cause: error,
    });
  }
}
