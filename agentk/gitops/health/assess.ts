import type { LiveObject } from '../../kube/cluster.ts';
import { type Assessment, conditionOf, current, failed, fieldAt, type HealthRule, inProgress, sayingOf } from './assessment.ts';
import { apiServiceHealth } from './rules/api-service.ts';
import { customResourceDefinitionHealth } from './rules/custom-resource-definition.ts';
import { daemonSetHealth } from './rules/daemon-set.ts';
import { deploymentHealth } from './rules/deployment.ts';
import { jobHealth } from './rules/job.ts';
import { namespaceHealth } from './rules/namespace.ts';
import { persistentVolumeClaimHealth } from './rules/persistent-volume-claim.ts';
import { podHealth } from './rules/pod.ts';
import { podDisruptionBudgetHealth } from './rules/pod-disruption-budget.ts';
import { replicaSetHealth } from './rules/replica-set.ts';
import { serviceHealth } from './rules/service.ts';
import { statefulSetHealth } from './rules/stateful-set.ts';

/** By `Kind.group`. Kinds without a rule go by their `Ready` condition, if they have one. */
const rules: ReadonlyMap<string, HealthRule> = new Map([
  ['Deployment.apps', deploymentHealth],
  ['ReplicaSet.apps', replicaSetHealth],
  ['StatefulSet.apps', statefulSetHealth],
  ['DaemonSet.apps', daemonSetHealth],
  ['Pod.', podHealth],
  ['Job.batch', jobHealth],
  ['CronJob.batch', () => current('Schedule is in place')],
  ['Service.', serviceHealth],
  ['PersistentVolumeClaim.', persistentVolumeClaimHealth],
  ['PodDisruptionBudget.policy', podDisruptionBudgetHealth],
  ['Namespace.', namespaceHealth],
  ['CustomResourceDefinition.apiextensions.k8s.io', customResourceDefinitionHealth],
  ['APIService.apiregistration.k8s.io', apiServiceHealth],
]);

/**
 * Whether the cluster has made of an object what it says, by the rules of kstatus
 * (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md), which hold for all well-behaved
 * controllers. Ours differ: a failed Pod and a lost claim are failed, a running Job is in progress until it has completed, a
 * partition of 0 is none, a DaemonSet may be updated by hand, budgets must have been observed, and Namespaces and
 * APIServices have rules.
 */
export function assessHealth(object: LiveObject): Assessment {
  const slash = object.apiVersion.indexOf('/');
  const group = slash < 0 ? '' : object.apiVersion.slice(0, slash);
  return unsettled(object) ?? builtInRule(`${object.kind}.${group}`)(object);
}

/** By a rule of the configuration, which outweighs the standard conditions. */
export function assessByRule(object: LiveObject, rule: HealthRule): Assessment {
  return unsettled(object) ?? rule(object);
}

/** The agent's own rule for a `Kind.group`, standard conditions first. */
export function builtInRule(kind: string): HealthRule {
  const rule = rules.get(kind) ?? readyHealth;
  return (object) => conditionHealth(object) ?? rule(object);
}

/** What holds for every kind, whatever a rule says: its status is about something else. */
function unsettled(object: LiveObject): Assessment | undefined {
  const { generation, deletionTimestamp } = object.metadata;
  if (deletionTimestamp !== undefined) return { health: 'terminating', message: deletionMessage(object) };
  const observed = fieldAt(object, 'status', 'observedGeneration');
  if (typeof observed === 'number' && generation !== undefined && observed !== generation) {
    return inProgress(`Generation ${generation} is not observed yet, the newest observed is ${observed}`);
  }
  return undefined;
}

function conditionHealth(object: LiveObject): Assessment | undefined {
  const reconciling = conditionOf(object, 'Reconciling');
  if (reconciling?.status === 'True') return inProgress(sayingOf(reconciling, 'Reconciling'));
  const stalled = conditionOf(object, 'Stalled');
  if (stalled?.status === 'True') return failed(sayingOf(stalled, 'Stalled'));
  return undefined;
}

function deletionMessage(object: LiveObject): string {
  const finalizers = object.metadata.finalizers ?? [];
  return finalizers.length === 0 ? 'Being deleted' : `Being deleted, waiting for finalizers: ${finalizers.join(', ')}`;
}

function readyHealth(object: LiveObject): Assessment {
  const ready = conditionOf(object, 'Ready');
  if (ready === undefined) return current('Resource is current');
  return ready.status === 'True' ? current(sayingOf(ready, 'Ready')) : inProgress(sayingOf(ready, 'Not ready'));
}
