import type { LiveObject } from '../../kube/cluster.ts';
import type { Drift } from '../unit.ts';
import { describeFields } from './field-drift.ts';
import type { Verdict } from './judge.ts';

/** What differs, who did it and when. */
export type Finding = Pick<Drift, 'deleted' | 'fields' | 'manager' | 'changedAt' | 'detectedAt'>;
/** What was done about it. */
export type Resolution = Pick<Drift, 'outcome' | 'message' | 'resolvedAt'>;
export type DriftReport = Finding & Resolution;
export type Drifted = Extract<Verdict, { kind: 'drifted' }>;

/** @param body The object as we apply it, JSON. */
export function describeDrift(body: string, live: LiveObject, { paths, change }: Drifted, detectedAt: Date): Finding {
  return {
    deleted: false,
    fields: describeFields(paths, JSON.parse(body), live),
    manager: change?.manager ?? '',
    changedAt: change?.at,
    detectedAt,
  };
}

/** A deletion leaves nothing that could tell who did it. */
export function lossFinding(detectedAt: Date): Finding {
  return { deleted: true, fields: [], manager: '', changedAt: undefined, detectedAt };
}
