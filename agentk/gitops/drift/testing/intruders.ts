import { type Edit, type EditableObject, json, patch, replace, strategic } from './edit.ts';
import type { Subject } from './subjects.ts';
import { subjects } from './subjects.ts';

/** An edit after which applying the manifest again is refused, or leaves what the edit has put beside it. */
export interface Intruder {
  readonly title: string;
  readonly subject: Subject;
  /** What another manager had added before, which must stay. */
  readonly foreign: Edit;
  readonly edit: Edit;
  /** What the forced apply answers without adoption. */
  readonly plainApply: number;
}

const sidecar = strategic({ spec: { template: { spec: { containers: [{ name: 'proxy', image: 'envoy:1' }] } } } }, 'injector');
const metricsPort = strategic({ spec: { ports: [{ name: 'metrics', port: 9090, targetPort: 9090 }] } }, 'injector');

/** The API server puts the sidecar before ours: containers are found by name. */
function editContainer(change: (container: EditableObject) => void): Edit {
  return replace((object) => change(object.spec.template.spec.containers.find(({ name }: EditableObject) => name === 'app')));
}

function editPort(change: (port: EditableObject) => void): Edit {
  return replace((object) => change(object.spec.ports.find(({ name }: EditableObject) => name === 'http')));
}

const nodePortService: Subject = {
  ...subjects.service,
  content: { spec: { type: 'NodePort', selector: { app: 'web' }, ports: [{ name: 'http', port: 80, nodePort: 30_471 }] } },
};

export const intruders: readonly Intruder[] = [
  {
    title: 'a volume turned into a host path',
    subject: subjects.deployment,
    foreign: sidecar,
    edit: json({ op: 'replace', path: '/spec/template/spec/volumes/0', value: { name: 'cache', hostPath: { path: '/tmp' } } }),
    plainApply: 422,
  },
  {
    title: 'an environment value turned into a reference',
    subject: subjects.deployment,
    foreign: sidecar,
    edit: editContainer((container) => {
      container.env[0] = { name: 'HOST', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } };
    }),
    plainApply: 422,
  },
  {
    title: 'a Service port with another number',
    subject: subjects.service,
    foreign: metricsPort,
    edit: editPort((port) => {
      port.port = 81;
    }),
    plainApply: 422,
  },
  {
    title: 'the only Service port with another protocol',
    subject: subjects.service,
    foreign: async () => undefined,
    edit: editPort((port) => {
      port.protocol = 'UDP';
    }),
    plainApply: 422,
  },
  {
    title: 'a node port under another port number',
    subject: nodePortService,
    foreign: metricsPort,
    edit: editPort((port) => {
      port.port = 81;
    }),
    plainApply: 500,
  },
  {
    title: 'a renamed container',
    subject: subjects.deployment,
    foreign: sidecar,
    edit: editContainer((container) => {
      container.name = 'other';
    }),
    plainApply: 200,
  },
  {
    title: 'a renamed item of a custom resource',
    subject: subjects.widget,
    foreign: patch('json', [{ op: 'add', path: '/spec/parts/-', value: { name: 'foreign', count: 1 } }], 'injector'),
    edit: json({ op: 'replace', path: '/spec/parts/0/name', value: 'renamed' }),
    plainApply: 200,
  },
  {
    title: 'a container port with another number',
    subject: subjects.deployment,
    foreign: sidecar,
    edit: editContainer((container) => {
      container.ports[0].containerPort = 81;
    }),
    plainApply: 200,
  },
];
