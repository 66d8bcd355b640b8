import { hash } from 'node:crypto';
import type { FieldsV1 } from '../../kube/cluster.ts';
import type { FieldKeys } from './fields-v1.ts';
import { canonicalText, isRecord, visitOwned } from './live-values.ts';

/** One thing about owned fields that can change by itself: a leaf's value, a node's presence, the order of a list. */
export interface OwnedSlot {
  readonly keys: FieldKeys;
  readonly kind: 'value' | 'presence' | 'order';
  /** Text that is equal exactly when the live state is. */
  readonly text: string;
  /** For `order`: every owned item is there, so what changed is the order, or an item occurs twice. */
  readonly complete: boolean;
}

/** The texts of all slots of a set of fields, in an order that depends on the set alone. */
export function slotTexts(fields: FieldsV1, live: unknown): readonly string[] {
  const texts: string[] = [];
  visitOwned(fields, live, {
    value: (_keys, value) => void texts.push(canonicalText(value)),
    presence: (_keys, value) => void texts.push(shapeOf(value)),
    order: (_keys, sequence) => void texts.push(sequence.join(',')),
  });
  return texts;
}

/** The same with the path of each slot, for when it must be named. */
export function ownedSlots(fields: FieldsV1, live: unknown): readonly OwnedSlot[] {
  const slots: OwnedSlot[] = [];
  visitOwned(fields, live, {
    value: (keys, value) => void slots.push({ keys: [...keys], kind: 'value', text: canonicalText(value), complete: true }),
    presence: (keys, value) => void slots.push({ keys: [...keys], kind: 'presence', text: shapeOf(value), complete: true }),
    order: (keys, sequence, itemCount) => {
      const complete = new Set(sequence).size === itemCount;
      slots.push({ keys: [...keys], kind: 'order', text: sequence.join(','), complete });
    },
  });
  return slots;
}

/** One digest over all slots: 128 bits of SHA-256, base64url. */
export function digestOf(texts: readonly string[]): string {
  return hash('sha256', texts.join('\n'), 'base64url').slice(0, 22);
}

/**
 * A hash per slot, to name what changed once the digest has told that something did. 16 bits are enough for that
 * (FNV-1a over UTF-16 code units, folded, https://datatracker.ietf.org/doc/html/draft-eastlake-fnv).
 */
export function slotHash(text: string): number {
  let state = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) state = Math.imul(state ^ text.charCodeAt(index), 0x01000193);
  return ((state >>> 16) ^ state) & 0xffff;
}

function shapeOf(value: unknown): string {
  if (value === undefined) return 'absent';
  if (isRecord(value)) return 'map';
  return Array.isArray(value) ? 'list' : canonicalText(value);
}
