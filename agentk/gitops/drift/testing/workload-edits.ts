import { agentManager, drifted, json, type LiveEdit, merge, none, other, patch, replace, strategic } from './edit.ts';

const template = '.spec.template.spec';
const app = `${template}.containers[name="app"]`;
const pod = (spec: unknown): unknown => ({ spec: { template: { spec } } });
const container = (fields: Readonly<Record<string, unknown>>): unknown => pod({ containers: [{ name: 'app', ...fields }] });
export const workloadEdits: readonly LiveEdit[] = [
  other('deployment', 'nothing', 'none', none),
  other(
    'deployment',
    'only its status written',
    'none',
    patch('merge', { status: { replicas: 7, observedGeneration: 1 } }, 'some-controller', '/status'),
  ),
  drifted('deployment', 'image changed', strategic(container({ image: 'nginx:1.28' })), [`${app}.image`]),
  drifted(
    'deployment',
    'scaled',
    patch('merge', { spec: { replicas: 1 } }, 'kubectl-scale', '/scale'),
    ['.spec.replicas'],
    'kubectl-scale',
  ),
  drifted(
    'deployment',
    'scaled under our name',
    patch('merge', { spec: { replicas: 1 } }, agentManager, '/scale'),
    ['.spec.replicas'],
    agentManager,
  ),
  drifted('deployment', 'replicas reset to their default', json({ op: 'remove', path: '/spec/replicas' }), ['.spec.replicas']),
  drifted('deployment', 'arguments changed', strategic(container({ args: ['--port', '81'] })), [`${app}.args`]),
  drifted('deployment', 'environment value changed', strategic(container({ env: [{ name: 'HOST', value: 'other' }] })), [
    `${app}.env[name="HOST"].value`,
  ]),
  drifted(
    'deployment',
    'environment value turned into a reference',
    json({
      op: 'replace',
      path: '/spec/template/spec/containers/0/env/0',
      value: { name: 'HOST', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
    }),
    [`${app}.env[name="HOST"].value`],
  ),
  drifted(
    'deployment',
    'environment variables swapped',
    replace((o) => {
      o.spec.template.spec.containers[0].env.reverse();
    }),
    [`${app}.env`],
    'nobody',
  ),
  drifted(
    'deployment',
    'environment variable twice',
    json({ op: 'add', path: '/spec/template/spec/containers/0/env/-', value: { name: 'HOST', value: 'twice' } }),
    [`${app}.env`],
  ),
  drifted(
    'deployment',
    'init containers swapped',
    replace((o) => {
      o.spec.template.spec.initContainers.reverse();
    }),
    [`${template}.initContainers`],
    'nobody',
  ),
  drifted(
    'deployment',
    'init containers removed',
    json({ op: 'remove', path: '/spec/template/spec/initContainers' }),
    [`${template}.initContainers`],
    'nobody',
  ),
  drifted(
    'deployment',
    'container renamed',
    json({ op: 'replace', path: '/spec/template/spec/containers/0/name', value: 'other' }),
    [app],
    'kubectl-edit',
  ),
  drifted(
    'deployment',
    'container port changed',
    json({ op: 'replace', path: '/spec/template/spec/containers/0/ports/0/containerPort', value: 81 }),
    [`${app}.ports[containerPort=80,protocol="TCP"]`],
  ),
  drifted(
    'deployment',
    'content put into an empty security context',
    strategic(container({ securityContext: { privileged: true } })),
    [`${app}.securityContext`],
  ),
  drifted(
    'deployment',
    'content put into an empty volume source',
    json({ op: 'add', path: '/spec/template/spec/volumes/0/emptyDir/medium', value: 'Memory' }),
    [`${template}.volumes[name="cache"].emptyDir`],
  ),
  drifted(
    'deployment',
    'volume turned into a host path',
    json({ op: 'replace', path: '/spec/template/spec/volumes/0', value: { name: 'cache', hostPath: { path: '/tmp' } } }),
    [`${template}.volumes[name="cache"].emptyDir`],
  ),
  drifted(
    'deployment',
    'mount path changed',
    json({ op: 'replace', path: '/spec/template/spec/containers/0/volumeMounts/0/mountPath', value: '/other' }),
    [`${app}.volumeMounts[mountPath="/cache"]`],
  ),
  drifted(
    'deployment',
    'toleration changed',
    json({ op: 'replace', path: '/spec/template/spec/tolerations/0/key', value: 'x' }),
    [`${template}.tolerations`],
  ),
  drifted('deployment', 'node selector changed', merge(pod({ nodeSelector: { disk: 'hdd' } })), [`${template}.nodeSelector`]),
  drifted('deployment', 'memory request changed', strategic(container({ resources: { requests: { memory: '2Gi' } } })), [
    `${app}.resources.requests.memory`,
  ]),
  other(
    'deployment',
    'CPU request written in another way',
    'none',
    strategic(container({ resources: { requests: { cpu: '1' } } })),
  ),
  other('deployment', 'template label added', 'none', merge({ spec: { template: { metadata: { labels: { x: 'y' } } } } })),
  other('deployment', 'command added', 'none', strategic(container({ command: ['/bin/sh'] }))),
  other('deployment', 'sidecar added', 'none', strategic(pod({ containers: [{ name: 'proxy', image: 'envoy:1' }] }), 'injector')),
];
