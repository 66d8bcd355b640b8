import { z } from 'zod';
import { durationMs } from '../../lib/config-types.ts';

/** What a scenario file may say; docs/testing.md explains it. */

const text = z.string().min(1, 'is empty; write it or leave it out');
const agentName = z.string().regex(/^[a-z][a-z0-9-]{0,20}$/, {
  message: 'must be lower-case letters, digits and "-", at most 21; rename it',
});
const stepName = z.string().regex(/^[a-z][a-z0-9-]{0,40}$/, { message: 'must be lower-case letters, digits and "-"; rename it' });
/** `ConfigMap settings`, `Deployment.apps web`, `Secret other-namespace/token`. */
const objectRef = z.string().regex(/^[A-Z][A-Za-z0-9]*(?:\.[a-z0-9.-]+)? (?:[a-z0-9-]+\/)?[A-Za-z0-9.:-]+$/, {
  message: 'must be an object; write it like "ConfigMap settings", "Deployment.apps web" or "Secret other-namespace/token"',
});
const expression = z.string().refine(isExpression, 'is not a regular expression; correct it');
const values = z.record(z.string(), z.unknown());

function isExpression(source: string): boolean {
  try {
    new RegExp(source);
    return true;
  } catch {
    return false;
  }
}

const generated = z.strictObject({
  /** How many documents; `${n}` in `each` counts from 0. */
  count: z.int().min(1).max(10_000),
  each: text,
});

const commit = z.strictObject({
  agent: agentName.optional(),
  /** By path; null removes a file or a folder. */
  files: z.record(z.string(), z.union([z.string(), generated, z.null()])).default({}),
  /** Entries of gitops.manifest_projects by unit; null takes one out. */
  units: z.record(z.string(), z.union([values, z.null()])).default({}),
  /** Further keys of the configuration file, as `observability`. */
  configuration: values.default({}),
  /** Further keys of `gitops` in the configuration file. */
  gitops: values.default({}),
  /** For `commit` of expectations and `${commit.NAME}` in later commits. */
  as: stepName.optional(),
});

const manager = text.default('kubectl-edit');

const create = z.strictObject({ manifest: text, manager: text.default('kubectl-create') });
const apply = z.strictObject({ manifest: text, manager: text, force: z.boolean().default(true) });
const patch = z
  .strictObject({
    object: objectRef,
    manager,
    subresource: text.optional(),
    merge: values.optional(),
    strategic: values.optional(),
    json: z.array(values).optional(),
    /** Patches again and again until the object has these values. */
    until: values.optional(),
  })
  .superRefine((value, context) => {
    const kinds = [value.merge, value.strategic, value.json].filter((one) => one !== undefined);
    if (kinds.length !== 1) context.addIssue('needs exactly one of merge, strategic and json; keep one');
  });
const label = z.strictObject({ object: objectRef, manager, labels: z.record(z.string(), z.string().nullable()) });
const remove = z.strictObject({
  object: objectRef,
  propagation: z.enum(['Background', 'Foreground', 'Orphan']).default('Background'),
  /** Until it is gone. */
  wait: z.boolean().default(false),
});

const program = z.enum(['agentk', 'kas', 'gitserver']);
const control = z.union([program, z.strictObject({ program, agent: agentName })]);
/** The connections of an agentk to kas or to the API server. */
const network = z.union([
  z.enum(['kas', 'cluster']),
  z.strictObject({ to: z.enum(['kas', 'cluster']), agent: agentName.optional() }),
]);

const requestMatch = {
  method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']).optional(),
  /** Of the path without the query. */
  path: expression.optional(),
  query: z.record(z.string(), expression).optional(),
  body: expression.optional(),
};
const faultKinds = {
  /** As the API server words a refusal. */
  refuse: z
    .strictObject({ status: z.int(), reason: z.string().default(''), message: z.string(), details: values.optional() })
    .optional(),
  /** As something on the way words one. */
  answer: z.strictObject({ status: z.int(), text: z.string(), headers: z.record(z.string(), z.string()).default({}) }).optional(),
  cut: z.enum(['before', 'after']).optional(),
  delay: durationMs().optional(),
  /** Until the fault is taken away by `heal`. */
  hold: z.literal(true).optional(),
};
const fault = z
  .strictObject({ as: stepName, agent: agentName.optional(), ...requestMatch, ...faultKinds, times: z.int().min(1).optional() })
  .superRefine((value, context) => {
    const given = Object.keys(faultKinds).filter((key) => value[key as keyof typeof faultKinds] !== undefined);
    if (given.length !== 1) context.addIssue(`needs exactly one of ${Object.keys(faultKinds).join(', ')}; keep one`);
  });

const webhook = z.strictObject({
  as: stepName,
  operations: z.array(z.enum(['CREATE', 'UPDATE', 'DELETE', '*'])).min(1),
  groups: z.array(z.string()).default(['']),
  resources: z.array(text).min(1),
  /** `gone`: nobody listens at its address. */
  answer: z.enum(['allow', 'deny', 'gone']),
  message: z.string().default('denied by the scenario'),
});

/** By kas' API. */
const operate = z
  .strictObject({
    agent: agentName.optional(),
    unit: z.string().optional(),
    suspend: z.literal(true).optional(),
    resume: z.literal(true).optional(),
    resync: z.literal(true).optional(),
    /** The name of a commit. */
    pin: stepName.optional(),
    unpin: z.literal(true).optional(),
    /** The name of the commit whose prune waits. */
    confirm_prune: stepName.optional(),
  })
  .superRefine(({ agent: _agent, unit: _unit, ...operations }, context) => {
    if (Object.values(operations).filter((one) => one !== undefined).length !== 1)
      context.addIssue('needs exactly one of suspend, resume, resync, pin, unpin and confirm_prune; keep one');
  });

const phase = z.enum(['Pending', 'Progressing', 'Synced', 'Degraded', 'Failed', 'Suspended']);
const action = z.enum(['created', 'configured', 'unchanged', 'pruned', 'failed', 'waiting', 'skipped']);
const health = z.enum(['current', 'in_progress', 'failed', 'terminating', 'not_found']);
const result = z.union([
  z.string().regex(/^(?:created|configured|unchanged|pruned|failed|waiting|skipped)(?: [A-Z][A-Za-z]*)?$/, {
    message: 'must be an action and, if wanted, a reason; write it like "created" or "failed OwnedByOther"',
  }),
  z.strictObject({
    action: action.optional(),
    reason: z.string().optional(),
    message: expression.optional(),
    health: health.optional(),
    source: z.string().optional(),
  }),
]);
const drift = z.strictObject({
  object: objectRef,
  outcome: z.enum(['corrected', 'reported', 'failed']).optional(),
  manager: z.string().optional(),
  deleted: z.boolean().optional(),
  /** Paths that must be among those of the drift. */
  fields: z.array(z.string()).default([]),
  message: expression.optional(),
});
const requests = z.strictObject({
  agent: agentName.optional(),
  ...requestMatch,
  /** Only those since the fault or commit of this name, or since the scenario began. */
  since: stepName.optional(),
  at_least: z.int().min(0).optional(),
  at_most: z.int().min(0).optional(),
});

const expectation = z.strictObject({
  agent: agentName.optional(),
  /** The only one of the agent, when left out; '' is the configuration. */
  unit: z.string().optional(),
  /** Which commit the sync status must speak of: the newest, when left out. */
  commit: stepName.or(z.literal('any')).optional(),
  phase: phase.optional(),
  reason: z.string().optional(),
  message: expression.optional(),
  /** All objects of the sync status and no others. */
  objects: z.record(objectRef, result).optional(),
  /** Some of them. */
  objects_include: z.record(objectRef, result).optional(),
  counts: z.partialRecord(action, z.int().min(0)).optional(),
  drifts: z.union([z.literal('none'), z.array(drift)]).optional(),
  problems: z
    .array(
      z.strictObject({
        reason: z.string(),
        file: z.string().optional(),
        line: z.int().optional(),
        message: expression.optional(),
      }),
    )
    .optional(),
  /** What the API server has: `present`, `absent`, or values that the object must have; null is a field that is not there. */
  cluster: z.record(objectRef, z.union([z.enum(['present', 'absent']), values])).optional(),
  /** All objects of a kind in the scenario's namespace by name, without what Kubernetes itself puts there. */
  only: z.record(z.string(), z.array(z.string())).optional(),
  /** How many objects of a kind there are in the scenario's namespace. */
  count: z.record(z.string(), z.int().min(0)).optional(),
  /** Not made anew since an earlier expectation looked at it. */
  same: z.array(objectRef).optional(),
  /** Not written since an earlier expectation looked at it. */
  untouched: z.array(objectRef).optional(),
  /** Made anew since an earlier expectation looked at it. */
  recreated: z.array(objectRef).optional(),
  requests: z.array(requests).optional(),
  log: z.partialRecord(program, expression).optional(),
  within: durationMs({ min: 1000 }).optional(),
});

const actions = {
  commit: commit.optional(),
  create: create.optional(),
  apply: apply.optional(),
  patch: patch.optional(),
  label: label.optional(),
  delete: remove.optional(),
  kill: control.optional(),
  stop: control.optional(),
  start: control.optional(),
  cut: network.optional(),
  pause: network.optional(),
  resume: network.optional(),
  fault: fault.optional(),
  heal: stepName.optional(),
  webhook: webhook.optional(),
  operate: operate.optional(),
  etcd: z.enum(['snapshot', 'restore']).optional(),
  expect: expectation.optional(),
};

const step = z.strictObject(actions).superRefine((value, context) => {
  if (Object.values(value).filter((one) => one !== undefined).length !== 1)
    context.addIssue(`needs exactly one of ${Object.keys(actions).join(', ')}; give each a step of its own`);
});

export const scenarioSchema = z.strictObject({
  /** The title of the test: a sentence about behaviour. */
  name: text,
  /** The first is meant where a step names none. */
  agents: z.array(agentName).min(1).default(['agent']),
  /** `own`: no other test uses the cluster, so that etcd may be set back. */
  cluster: z.enum(['shared', 'own']).default('shared'),
  /** For the scenario as a whole. */
  timeout: durationMs({ min: 1000 }).prefault('120s'),
  steps: z.array(step).min(1, 'is empty; add a step'),
});

export type Scenario = z.output<typeof scenarioSchema>;
export type Step = Scenario['steps'][number];
export type Commit = z.output<typeof commit>;
export type Generated = z.output<typeof generated>;
export type Expectation = z.output<typeof expectation>;
export type ResultExpectation = z.output<typeof result>;
export type DriftExpectation = z.output<typeof drift>;
export type RequestsExpectation = z.output<typeof requests>;
export type FaultStep = z.output<typeof fault>;
export type WebhookStep = z.output<typeof webhook>;
export type OperateStep = z.output<typeof operate>;
export type Control = z.output<typeof control>;
export type Network = z.output<typeof network>;
export type Edit = Pick<Step, 'create' | 'apply' | 'patch' | 'label' | 'delete'>;
