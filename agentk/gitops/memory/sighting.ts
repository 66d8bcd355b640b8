import type { LiveObject } from '../../kube/cluster.ts';
import { type OwnedState, ownedState } from '../drift/owned-state.ts';
import type { Assessment } from '../health/assessment.ts';

/** A live object that a watch showed before its unit had a bundle that says what it should be: small enough to wait with. */
export interface Sighting {
  /** API version in which it was seen. */
  readonly version: string;
  readonly state: OwnedState;
  readonly assessment: Assessment;
  readonly resourceVersion: string;
}

/** Undefined when `manager` never applied it. */
export function sightingOf(live: LiveObject, manager: string, assess: (object: LiveObject) => Assessment): Sighting | undefined {
  const state = ownedState(live, manager);
  if (state === undefined || live.metadata.deletionTimestamp !== undefined) return undefined;
  const version = live.apiVersion.slice(live.apiVersion.indexOf('/') + 1);
  return { version, state, assessment: assess(live), resourceVersion: live.metadata.resourceVersion };
}
