import { UserError } from '../../lib/errors.ts';
import type { LiveChange, LiveEntry } from './live-change.ts';

/** The newest changes of each agent, for those who follow them, on whichever replica. */
export interface LiveChangeLog {
  /** Of one agent, in their order. Never rejects: what cannot be kept is lost, and said with the next one as a `reset`. */
  append(changes: readonly LiveChange[]): Promise<void>;
  /** From where to hear what is yet to come. UnavailableError. */
  newest(agentId: number): Promise<string>;
  /**
   * Each change after the cursor, once and in order. Throws a UserError of reason
   * `Expired` when some of them are not known any more, UnavailableError, the signal's reason.
   */
  follow(agentId: number, cursor: string, signal: AbortSignal): AsyncIterable<LiveEntry>;
}

/** Kept per agent; a reader who is further behind starts over. */
export const KEPT_CHANGES = 2_000;

/** `<epoch>.<number>`: numbers count up by one within an epoch, which is as long as the log lives. */
export function formatCursor(epoch: string, number: number): string {
  return `${epoch}.${number}`;
}

/** UserError `invalid` for a text that is no cursor. */
export function parseCursor(cursor: string): { readonly epoch: string; readonly number: number } {
  const [, epoch, digits] = /^([0-9a-f]{1,32})\.(\d{1,15})$/.exec(cursor) ?? [];
  if (epoch === undefined) throw new UserError('the cursor is none; take one that came with a change');
  return { epoch, number: Number(digits) };
}

export function expired(): UserError {
  return new UserError('the changes since that cursor are not known any more; list again', {
    kind: 'precondition',
    reason: 'Expired',
  });
}
