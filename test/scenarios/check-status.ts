import { Action, type Drift, DriftOutcome, Health, type ObjectResult, Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { isRef } from './compare.ts';
import type { DriftExpectation, Expectation, ResultExpectation } from './scenario-schema.ts';

/** What is not as expected in what kas says of a unit; none when all is. */
export function checkStatus(expected: Expectation, unit: UnitStatus, namespace: string): readonly string[] {
  const { phase, reason, message, drifts, problems = [] } = expected;
  const wrong: string[] = [];
  if (phase !== undefined && phaseName(unit) !== phase) wrong.push(`phase is ${phaseName(unit)} instead of ${phase}`);
  if (reason !== undefined && unit.reason !== reason) wrong.push(`reason is ${unit.reason} instead of ${reason}`);
  if (message !== undefined && !new RegExp(message).test(unit.message)) wrong.push(`message is "${unit.message}"`);
  for (const problem of problems) {
    const found = unit.problems.some(
      (one) =>
        one.reason === problem.reason &&
        (problem.file === undefined || one.file === problem.file) &&
        (problem.line === undefined || one.line === problem.line) &&
        (problem.message === undefined || new RegExp(problem.message).test(one.message)),
    );
    if (!found) wrong.push(`no problem is like ${JSON.stringify(problem)}`);
  }
  if (drifts === 'none') wrong.push(...unit.drifts.map((drift) => `drift of ${drift.id?.kind} ${drift.id?.name} was reported`));
  else for (const one of drifts ?? []) if (!unit.drifts.some((drift) => isDrift(one, drift, namespace))) wrong.push(noDrift(one));
  return [...wrong, ...checkObjects(expected, unit.objects, namespace)];
}

function phaseName({ phase }: UnitStatus): string {
  const name = nameOf(Phase, phase, 'PHASE_');
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
}

/** Of a generated enumeration, in lower case. */
function nameOf(names: Readonly<Record<string, unknown>>, value: number, prefix: string): string {
  const found = Object.entries(names).find(([key, number]) => key.startsWith(prefix) && number === value);
  return found === undefined ? String(value) : found[0].slice(prefix.length).toLowerCase();
}

function checkObjects(expected: Expectation, objects: readonly ObjectResult[], namespace: string): readonly string[] {
  const wrong: string[] = [];
  const find = (ref: string): ObjectResult | undefined => objects.find(({ id }) => id !== undefined && isRef(ref, id, namespace));
  for (const [ref, result] of Object.entries({ ...expected.objects, ...expected.objects_include })) {
    const object = find(ref);
    if (object === undefined) wrong.push(`${ref} is not in the sync status`);
    else wrong.push(...checkResult(ref, result, object));
  }
  if (expected.objects !== undefined) {
    const listed = new Set(Object.keys(expected.objects).map(find));
    for (const object of objects) if (!listed.has(object)) wrong.push(`${describe(object)} is not expected`);
  }
  for (const [action, count] of Object.entries(expected.counts ?? {})) {
    const seen = objects.filter((object) => actionName(object) === action).length;
    if (seen !== count) wrong.push(`${seen} objects are ${action} instead of ${count}`);
  }
  return wrong;
}

function checkResult(ref: string, expected: ResultExpectation, object: ObjectResult): readonly string[] {
  const wanted = typeof expected === 'string' ? parseResult(expected) : expected;
  const wrong: string[] = [];
  const { action, reason, message, health, source } = wanted;
  if (action !== undefined && actionName(object) !== action) wrong.push(`${describe(object)} instead of ${action}`);
  if (reason !== undefined && object.reason !== reason) wrong.push(`${describe(object)} instead of reason ${reason}`);
  if (message !== undefined && !new RegExp(message).test(object.message)) wrong.push(`${ref} says "${object.message}"`);
  if (source !== undefined && object.source !== source) wrong.push(`${ref} is from ${object.source} instead of ${source}`);
  const isHealth = nameOf(Health, object.health, 'HEALTH_');
  if (health !== undefined && isHealth !== health) wrong.push(`${ref} has health ${isHealth} instead of ${health}`);
  return wrong;
}

function parseResult(text: string): Exclude<ResultExpectation, string> {
  const [action = '', reason] = text.split(' ');
  return { action: action as 'created', ...(reason === undefined ? {} : { reason }) };
}

function actionName({ action }: ObjectResult): string {
  return nameOf(Action, action, 'ACTION_');
}

function describe(object: ObjectResult): string {
  return `${object.id?.kind} ${object.id?.name} is ${actionName(object)} ${object.reason}`.trim();
}

function isDrift(expected: DriftExpectation, drift: Drift, namespace: string): boolean {
  const { object, outcome, manager, deleted, fields, message } = expected;
  return (
    drift.id !== undefined &&
    isRef(object, drift.id, namespace) &&
    (outcome === undefined || nameOf(DriftOutcome, drift.outcome, 'DRIFT_OUTCOME_') === outcome) &&
    (manager === undefined || drift.manager === manager) &&
    (deleted === undefined || drift.deleted === deleted) &&
    (message === undefined || new RegExp(message).test(drift.message)) &&
    fields.every((path) => drift.fields.some((field) => field.path === path))
  );
}

function noDrift(expected: DriftExpectation): string {
  return `no drift is like ${JSON.stringify(expected)}`;
}
