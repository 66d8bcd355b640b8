import { drifted, json, type LiveEdit, merge, none, other } from './edit.ts';

export const networkEdits: readonly LiveEdit[] = [
  other('service', 'nothing', 'none', none),
  drifted('service', 'port changed', json({ op: 'replace', path: '/spec/ports/0/port', value: 81 }), [
    '.spec.ports[port=80,protocol="TCP"]',
  ]),
  drifted('service', 'protocol changed', json({ op: 'replace', path: '/spec/ports/0/protocol', value: 'UDP' }), [
    '.spec.ports[port=80,protocol="TCP"]',
  ]),
  drifted(
    'service',
    'target port turned from number into name',
    json({ op: 'replace', path: '/spec/ports/0/targetPort', value: 'web' }),
    ['.spec.ports[port=80,protocol="TCP"].targetPort'],
  ),
  drifted('service', 'selector changed', merge({ spec: { selector: { app: 'other' } } }), ['.spec.selector']),
  other('service', 'type changed, which we do not set', 'none', merge({ spec: { type: 'NodePort' } })),
  drifted('ingress', 'host changed', json({ op: 'replace', path: '/spec/rules/0/host', value: 'b.example' }), ['.spec.rules']),
  drifted(
    'ingress',
    'backend changed',
    json({ op: 'replace', path: '/spec/rules/0/http/paths/0/backend/service/name', value: 'b' }),
    ['.spec.rules'],
  ),
  other('ingress', 'class added', 'none', merge({ spec: { ingressClassName: 'nginx' } })),
  drifted('networkPolicy', 'empty pod selector filled', merge({ spec: { podSelector: { matchLabels: { app: 'x' } } } }), [
    '.spec.podSelector',
  ]),
  drifted('networkPolicy', 'policy types changed', merge({ spec: { policyTypes: ['Egress'] } }), ['.spec.policyTypes']),
  other('networkPolicy', 'rule added to deny-all', 'none', merge({ spec: { ingress: [{}] } })),
];

export const accessEdits: readonly LiveEdit[] = [
  drifted('role', 'verb added', json({ op: 'add', path: '/rules/0/verbs/-', value: 'delete' }), ['.rules']),
  drifted('role', 'rules removed', merge({ rules: null }), ['.rules']),
  drifted('roleBinding', 'subject changed', json({ op: 'replace', path: '/subjects/0/name', value: 'eve' }), ['.subjects']),
  drifted('autoscaler', 'maximum changed', merge({ spec: { maxReplicas: 9 } }), ['.spec.maxReplicas']),
  drifted(
    'autoscaler',
    'metric target changed',
    json({ op: 'replace', path: '/spec/metrics/0/resource/target/averageUtilization', value: 90 }),
    ['.spec.metrics'],
  ),
  drifted(
    'oldAutoscaler',
    'metrics replaced through a newer API version',
    async ({ api, path }) => {
      const resource = { name: 'memory', target: { type: 'Utilization', averageUtilization: 70 } };
      return await api.patch(path.replace('/v1/', '/v2/'), 'kubectl-edit', 'merge', {
        spec: { metrics: [{ type: 'Resource', resource }] },
      });
    },
    ['.spec.targetCPUUtilizationPercentage'],
  ),
];
