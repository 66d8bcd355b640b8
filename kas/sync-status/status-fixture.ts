import type { ClusterEvent, CommitProblem, Drift, ObjectResult, SyncReport, UnitSourceState } from './unit-status.ts';

/** For tests: values with sensible content where the test does not care. */

export const AGENT = { id: 7, name: 'seven' };

export function objectResult(name: string, change: Partial<ObjectResult> = {}): ObjectResult {
  return {
    id: { group: 'apps', kind: 'Deployment', namespace: 'shop', name },
    action: 'configured',
    reason: '',
    message: '',
    source: 'web.yaml:1',
    health: 'current',
    healthMessage: '',
    ...change,
  };
}

export function source(commitId: string, change: Partial<UnitSourceState> = {}): UnitSourceState {
  return {
    project: 'team/app',
    ref: 'refs/heads/main',
    desiredCommitId: commitId,
    detectedAt: new Date(1_000),
    problems: [],
    rendered: { commitId, digest: `digest-of-${commitId}` },
    ...change,
  };
}

export function problem(change: Partial<CommitProblem> = {}): CommitProblem {
  return {
    severity: 'error',
    reason: 'InvalidYaml',
    message: 'tabs are not allowed',
    file: 'a.yaml',
    line: 3,
    commitId: 'c2',
    ...change,
  };
}

export function report(commitId: string, change: Partial<SyncReport> = {}): SyncReport {
  return {
    unit: 'shop',
    commitId,
    bundleDigest: `digest-of-${commitId}`,
    phase: 'synced',
    reason: '',
    message: '',
    startedAt: new Date(2_000),
    finishedAt: new Date(3_000),
    objects: [objectResult('web')],
    ...change,
  };
}

export function drift(detectedAtMs: number, change: Partial<Drift> = {}): Drift {
  return {
    unit: 'shop',
    project: 'team/app',
    commitId: 'c1',
    id: { group: 'apps', kind: 'Deployment', namespace: 'shop', name: 'web' },
    deleted: false,
    fields: [{ path: '.spec.replicas', desired: '2', live: '5' }],
    manager: 'kubectl',
    changedAt: new Date(detectedAtMs - 10),
    detectedAt: new Date(detectedAtMs),
    outcome: 'corrected',
    resolvedAt: new Date(detectedAtMs + 20),
    message: '',
    ...change,
  };
}

export function clusterEvent(change: Partial<ClusterEvent> = {}): ClusterEvent {
  return {
    unit: 'shop',
    id: { group: '', kind: 'Pod', namespace: 'shop', name: 'web-1' },
    type: 'Warning',
    reason: 'BackOff',
    message: 'Back-off restarting failed container',
    component: 'kubelet',
    count: 1,
    lastSeen: new Date(5_000),
    ...change,
  };
}
