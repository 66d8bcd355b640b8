import type { LiveObject } from '../../kube/cluster.ts';
import type { Health } from '../unit.ts';
import { assessHealth } from './assess.ts';

type Content = Readonly<Record<string, unknown>>;

function object(apiVersion: string, kind: string, content: Content = {}, metadata: Content = {}): LiveObject {
  return { apiVersion, kind, ...content, metadata: { name: 'x', uid: 'u', resourceVersion: '1', ...metadata } };
}

function condition(type: string, status: string, reason = '', message = ''): Content {
  return { type, status, reason, message };
}

const rolledOut = [condition('Progressing', 'True', 'NewReplicaSetAvailable'), condition('Available', 'True')];
const spec = { replicas: 2, progressDeadlineSeconds: 600 };
const counts = { replicas: 2, updatedReplicas: 2, availableReplicas: 2, readyReplicas: 2 };
const deployment = (status: Content, more: Content = {}) =>
  object('apps/v1', 'Deployment', { spec: { ...spec, ...more }, status });

const deployments: readonly [string, LiveObject, Health, string][] = [
  ['rolled out', deployment({ ...counts, conditions: rolledOut }), 'current', '2 of 2 replicas are available'],
  ['new', deployment({}), 'in_progress', '0 of 2 replicas exist'],
  ['half updated', deployment({ ...counts, updatedReplicas: 1 }), 'in_progress', '1 of 2 replicas are updated'],
  ['with old replicas', deployment({ ...counts, replicas: 3 }), 'in_progress', '1 old replicas are still to go'],
  ['not available', deployment({ ...counts, availableReplicas: 1 }), 'in_progress', '1 of 2 updated replicas are available'],
  [
    'without the new ReplicaSet',
    deployment({ ...counts, conditions: [condition('Progressing', 'True', 'ReplicaSetUpdated', 'on it')] }),
    'in_progress',
    'on it',
  ],
  [
    'without a deadline',
    deployment({ ...counts, conditions: [condition('Available', 'True')] }, { progressDeadlineSeconds: 2 ** 31 - 1 }),
    'current',
    '2 of 2 replicas are available',
  ],
  [
    'past its deadline',
    deployment({ conditions: [condition('Progressing', 'False', 'ProgressDeadlineExceeded', 'too late')] }),
    'failed',
    'too late',
  ],
  [
    'over a quota',
    deployment({ conditions: [condition('ReplicaFailure', 'True', 'FailedCreate', 'exceeded quota')] }),
    'in_progress',
    '0 of 2 replicas exist: exceeded quota',
  ],
  ['scaled to none', deployment({ conditions: rolledOut }, { replicas: 0 }), 'current', '0 of 0 replicas are available'],
];

const sets: readonly [string, LiveObject, Health, string][] = [
  [
    'ReplicaSet that is complete',
    object('apps/v1', 'ReplicaSet', { spec, status: { ...counts, fullyLabeledReplicas: 2 } }),
    'current',
    '2 of 2 replicas are available',
  ],
  [
    'ReplicaSet that cannot create pods',
    object('apps/v1', 'ReplicaSet', {
      spec,
      status: { conditions: [condition('ReplicaFailure', 'True', 'FailedCreate', 'forbidden')] },
    }),
    'in_progress',
    'forbidden',
  ],
  [
    'StatefulSet that is complete',
    object(
      'apps/v1',
      'StatefulSet',
      { spec, status: { ...counts, observedGeneration: 1, currentRevision: 'a', updateRevision: 'a' } },
      { generation: 1 },
    ),
    'current',
    '2 of 2 replicas are ready',
  ],
  [
    'StatefulSet with zero replicas that nobody has observed',
    object('apps/v1', 'StatefulSet', { spec: { replicas: 0 } }, { generation: 1 }),
    'in_progress',
    'Not observed by the controller yet',
  ],
  [
    'StatefulSet in the middle of an update',
    object('apps/v1', 'StatefulSet', {
      spec,
      status: { ...counts, updatedReplicas: 1, observedGeneration: 1, currentRevision: 'a', updateRevision: 'b' },
    }),
    'in_progress',
    '1 of 2 replicas are updated',
  ],
  [
    'StatefulSet updated down to its partition',
    object('apps/v1', 'StatefulSet', {
      spec: { ...spec, updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 1 } } },
      status: { ...counts, updatedReplicas: 1, currentRevision: 'a', updateRevision: 'b' },
    }),
    'current',
    '1 of 1 replicas above the partition are updated',
  ],
  [
    'DaemonSet that nobody has observed',
    object('apps/v1', 'DaemonSet', { status: { desiredNumberScheduled: 0 } }),
    'in_progress',
    'Not observed by the controller yet',
  ],
  [
    'DaemonSet without nodes',
    object('apps/v1', 'DaemonSet', { status: { observedGeneration: 1, desiredNumberScheduled: 0 } }),
    'current',
    '0 of 0 pods are ready',
  ],
  [
    'DaemonSet in the middle of an update',
    object('apps/v1', 'DaemonSet', {
      status: {
        observedGeneration: 1,
        desiredNumberScheduled: 2,
        currentNumberScheduled: 2,
        updatedNumberScheduled: 1,
        numberAvailable: 2,
        numberReady: 2,
      },
    }),
    'in_progress',
    '1 of 2 pods are updated',
  ],
];

const runs: readonly [string, LiveObject, Health, string][] = [
  ['Pod nobody has observed', object('v1', 'Pod'), 'in_progress', 'Pod is not observed yet'],
  [
    'Pod that cannot be scheduled',
    object('v1', 'Pod', {
      status: { phase: 'Pending', conditions: [condition('PodScheduled', 'False', 'Unschedulable', 'no node')] },
    }),
    'in_progress',
    'no node',
  ],
  [
    'Pod that is ready',
    object('v1', 'Pod', { status: { phase: 'Running', conditions: [condition('Ready', 'True')] } }),
    'current',
    'Pod is ready',
  ],
  [
    'Pod that is not ready',
    object('v1', 'Pod', { status: { phase: 'Running', conditions: [condition('Ready', 'False', 'ContainersNotReady', 'app')] } }),
    'in_progress',
    'app',
  ],
  [
    'Pod that has failed',
    object('v1', 'Pod', { status: { phase: 'Failed', reason: 'Evicted', message: 'low on memory' } }),
    'failed',
    'low on memory',
  ],
  ['Pod that has completed', object('v1', 'Pod', { status: { phase: 'Succeeded' } }), 'current', 'Pod has completed'],
  ['Job that waits', object('batch/v1', 'Job'), 'in_progress', 'Job has not started'],
  [
    'Job that runs',
    object('batch/v1', 'Job', {
      spec: { completions: 3 },
      status: { startTime: '2026-01-01T00:00:00Z', active: 1, succeeded: 1 },
    }),
    'in_progress',
    'Job is running, 1 of 3 pods succeeded, 1 active',
  ],
  [
    'Job that is done',
    object('batch/v1', 'Job', { status: { succeeded: 1, conditions: [condition('Complete', 'True')] } }),
    'current',
    'Job has completed, 1 of 1 pods succeeded',
  ],
  [
    'Job that has failed',
    object('batch/v1', 'Job', { status: { conditions: [condition('Failed', 'True', 'BackoffLimitExceeded', 'too many')] } }),
    'failed',
    'too many',
  ],
  [
    'Job that is suspended',
    object('batch/v1', 'Job', { status: { conditions: [condition('Suspended', 'True')] } }),
    'current',
    'Job is suspended',
  ],
  ['CronJob', object('batch/v1', 'CronJob'), 'current', 'Schedule is in place'],
];

const others: readonly [string, LiveObject, Health, string][] = [
  ['Service', object('v1', 'Service', { spec: { type: 'ClusterIP' } }), 'current', 'Service is ready'],
  [
    'LoadBalancer without an IP',
    object('v1', 'Service', { spec: { type: 'LoadBalancer' } }),
    'in_progress',
    'Service has no cluster IP yet',
  ],
  [
    'claim that waits',
    object('v1', 'PersistentVolumeClaim', { status: { phase: 'Pending' } }),
    'in_progress',
    'Claim is Pending, not bound',
  ],
  ['claim that is bound', object('v1', 'PersistentVolumeClaim', { status: { phase: 'Bound' } }), 'current', 'Claim is bound'],
  [
    'claim without its volume',
    object('v1', 'PersistentVolumeClaim', { status: { phase: 'Lost' } }),
    'failed',
    'Claim has lost its volume',
  ],
  ['budget nobody has observed', object('policy/v1', 'PodDisruptionBudget'), 'in_progress', 'Not observed by the controller yet'],
  [
    'budget',
    object('policy/v1', 'PodDisruptionBudget', { status: { observedGeneration: 1, disruptionsAllowed: 1 } }),
    'current',
    '1 disruptions are allowed',
  ],
  ['Namespace', object('v1', 'Namespace', { status: { phase: 'Active' } }), 'current', 'Namespace is active'],
  ['Namespace that ends', object('v1', 'Namespace', { status: { phase: 'Terminating' } }), 'terminating', 'Being deleted'],
  ['CRD that is new', object('apiextensions.k8s.io/v1', 'CustomResourceDefinition'), 'in_progress', 'Kind is being installed'],
  [
    'CRD that is established',
    object('apiextensions.k8s.io/v1', 'CustomResourceDefinition', {
      status: { conditions: [condition('NamesAccepted', 'True'), condition('Established', 'True')] },
    }),
    'current',
    'Kind is established',
  ],
  [
    'CRD whose names are taken',
    object('apiextensions.k8s.io/v1', 'CustomResourceDefinition', {
      status: { conditions: [condition('NamesAccepted', 'False', 'PluralConflict', '"x" is in use')] },
    }),
    'failed',
    '"x" is in use',
  ],
  [
    'APIService that is dead',
    object('apiregistration.k8s.io/v1', 'APIService', {
      status: { conditions: [condition('Available', 'False', 'MissingEndpoints', 'no endpoints')] },
    }),
    'in_progress',
    'no endpoints',
  ],
  [
    'Deployment of another group',
    object('example.org/v1', 'Deployment', { spec: { replicas: 3 } }),
    'current',
    'Resource is current',
  ],
];

const generic: readonly [string, LiveObject, Health, string][] = [
  ['without a status', object('v1', 'ConfigMap'), 'current', 'Resource is current'],
  [
    'being deleted',
    object('v1', 'ConfigMap', {}, { deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['example.org/a'] }),
    'terminating',
    'Being deleted, waiting for finalizers: example.org/a',
  ],
  [
    'not observed',
    object(
      'example.org/v1',
      'Thing',
      { status: { observedGeneration: 1, conditions: [condition('Ready', 'True')] } },
      { generation: 2 },
    ),
    'in_progress',
    'Generation 2 is not observed yet, the newest observed is 1',
  ],
  [
    'reconciling',
    object('example.org/v1', 'Thing', { status: { conditions: [condition('Reconciling', 'True', 'Busy', 'busy')] } }),
    'in_progress',
    'busy',
  ],
  [
    'stalled',
    object('example.org/v1', 'Thing', { status: { conditions: [condition('Stalled', 'True', 'Broken')] } }),
    'failed',
    'Broken',
  ],
  [
    'ready',
    object('example.org/v1', 'Thing', { status: { conditions: [condition('Ready', 'True', 'Fine', 'fine')] } }),
    'current',
    'fine',
  ],
  [
    'not ready',
    object('example.org/v1', 'Thing', { status: { conditions: [condition('Ready', 'False', 'NotFine')] } }),
    'in_progress',
    'NotFine',
  ],
  [
    'of unknown readiness',
    object('example.org/v1', 'Thing', { status: { conditions: [condition('Ready', 'Unknown')] } }),
    'in_progress',
    'Not ready',
  ],
  [
    'with conditions of another shape',
    object('example.org/v1', 'Thing', { status: { conditions: ['Ready', null, { status: 'True' }] } }),
    'current',
    'Resource is current',
  ],
];

describe('assessHealth', () => {
  it.each(deployments)('of a Deployment %s', (_title, live, health, message) => {
    expect(assessHealth(live)).toEqual({ health, message });
  });

  it.each(sets)('of a %s', (_title, live, health, message) => {
    expect(assessHealth(live)).toEqual({ health, message });
  });

  it.each(runs)('of a %s', (_title, live, health, message) => {
    expect(assessHealth(live)).toEqual({ health, message });
  });

  it.each(others)('of a %s', (_title, live, health, message) => {
    expect(assessHealth(live)).toEqual({ health, message });
  });

  it.each(generic)('of an object %s', (_title, live, health, message) => {
    expect(assessHealth(live)).toEqual({ health, message });
  });
});
