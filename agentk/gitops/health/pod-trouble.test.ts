import type { LiveObject } from '../../kube/cluster.ts';
import { describeTroubles } from './pod-reasons.ts';
import { podTrouble } from './pod-trouble.ts';

function pod(status: object, name = 'web-1', metadata: object = {}): LiveObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'n', uid: name, resourceVersion: '1', ...metadata },
    status,
  };
}

const container = (state: object, more: object = {}): object => ({ name: 'app', ready: false, restartCount: 0, state, ...more });
const waiting = (reason: string, message = ''): object => container({ waiting: { reason, message } });

describe('podTrouble', () => {
  const rows: readonly (readonly [string, object, string, string])[] = [
    [
      'an image that cannot be pulled',
      { phase: 'Pending', containerStatuses: [waiting('ImagePullBackOff', 'Back-off pulling image "x"')] },
      'ImagePullBackOff',
      'container app: Back-off pulling image "x"',
    ],
    [
      'a container that crashes again and again',
      {
        phase: 'Running',
        containerStatuses: [
          container(
            { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 5m0s' } },
            { restartCount: 7, lastState: { terminated: { exitCode: 1, reason: 'Error', message: 'no database\n' } } },
          ),
        ],
      },
      'CrashLoopBackOff',
      'container app ended with exit code 1: no database, restarted 7 times',
    ],
    [
      'a container that needed too much memory',
      {
        phase: 'Running',
        containerStatuses: [
          container(
            { waiting: { reason: 'CrashLoopBackOff' } },
            { restartCount: 2, lastState: { terminated: { exitCode: 137, reason: 'OOMKilled' } } },
          ),
        ],
      },
      'OOMKilled',
      'container app ended with exit code 137, restarted 2 times',
    ],
    [
      'a missing Secret',
      { phase: 'Pending', containerStatuses: [waiting('CreateContainerConfigError', 'secret "s" not found')] },
      'CreateContainerConfigError',
      'container app: secret "s" not found',
    ],
    [
      'an init container that fails',
      {
        phase: 'Pending',
        initContainerStatuses: [{ ...container({ terminated: { exitCode: 3, reason: 'Error' } }), name: 'migrate' }],
        containerStatuses: [waiting('PodInitializing')],
      },
      'Error',
      'container migrate ended with exit code 3',
    ],
    [
      'a pod without a node',
      {
        phase: 'Pending',
        conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/2 nodes' }],
      },
      'Unschedulable',
      '0/2 nodes',
    ],
    ['an evicted pod', { phase: 'Failed', reason: 'Evicted', message: 'low on memory' }, 'Evicted', 'low on memory'],
    [
      'a readiness probe that fails',
      {
        phase: 'Running',
        containerStatuses: [container({ running: {} })],
        conditions: [
          { type: 'Ready', status: 'False', reason: 'ContainersNotReady', message: 'containers with unready status: [app]' },
        ],
      },
      'ContainersNotReady',
      'containers with unready status: [app]',
    ],
  ];
  it.each(rows)('names %s', (_what, status, reason, detail) => {
    expect(podTrouble(pod(status))).toMatchObject({ reason, detail });
  });

  it.each([
    ['is ready', { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] }, {}],
    ['is done', { phase: 'Succeeded', containerStatuses: [container({ terminated: { exitCode: 0, reason: 'Completed' } })] }, {}],
    ['begins', { phase: 'Pending', containerStatuses: [waiting('ContainerCreating')] }, {}],
    ['goes', { phase: 'Failed' }, { deletionTimestamp: '2026-01-01T00:00:00Z' }],
    ['has no status yet', {}, {}],
  ])('has nothing to say of a pod that %s', (_what, status, metadata) => {
    expect(podTrouble(pod(status, 'web-1', metadata))).toBeUndefined();
  });
});

describe('describeTroubles', () => {
  const unready = {
    phase: 'Running',
    conditions: [{ type: 'Ready', status: 'False', reason: 'ContainersNotReady', message: 'm' }],
  };
  const unpulled = { phase: 'Pending', containerStatuses: [waiting('ErrImagePull', 'denied')] };

  it('names the worst, of the newest rollout, and how many more there are', () => {
    const pods = [
      pod(unready, 'a'),
      pod(unpulled, 'old', { creationTimestamp: '2026-01-01T00:00:00Z' }),
      pod(unpulled, 'new', { creationTimestamp: '2026-01-02T00:00:00Z' }),
    ];
    expect(describeTroubles(pods)).toBe('pod new: ErrImagePull, container app: denied (and 2 more)');
  });

  it('is empty when nothing is wrong', () => {
    expect(describeTroubles([pod({ phase: 'Running' })])).toBe('');
  });
});
