import type { FieldsV1, LiveObject } from '../../kube/cluster.ts';
import { additionsOn } from './additions.ts';
import { formatFieldPath } from './field-path.ts';

const manager = 'agentk-1';
const app = 'k:{"name":"app"}';

interface Row {
  readonly apiVersion?: string;
  readonly kind: string;
  readonly ours: FieldsV1;
  readonly theirs: FieldsV1;
  readonly live: object;
  readonly by?: { readonly manager?: string; readonly operation?: 'Apply' | 'Update'; readonly subresource?: string };
}

function added({ apiVersion = 'apps/v1', kind, ours, theirs, live, by = {} }: Row): readonly string[] {
  const entry = (fieldsV1: FieldsV1): object => ({ manager, operation: 'Apply', apiVersion, fieldsV1 });
  const other = { ...entry(theirs), manager: 'hand', operation: 'Update', ...by };
  const metadata = { name: 'o', uid: 'u', resourceVersion: '1', managedFields: [entry(ours), other] };
  const object = { apiVersion, kind, metadata, ...live } as unknown as LiveObject;
  return additionsOn(object, manager).map(({ keys }) => formatFieldPath(keys));
}

const inPod = (fields: FieldsV1): FieldsV1 => ({ 'f:spec': { 'f:template': { 'f:spec': fields } } });
const pod = (spec: object): object => ({ spec: { template: { spec } } });
const ours = inPod({ 'f:containers': { [app]: { '.': {}, 'f:name': {}, 'f:image': {} } } });
const inApp = (fields: FieldsV1): FieldsV1 => inPod({ 'f:containers': { [app]: fields } });
const appWith = (fields: object): object => pod({ containers: [{ name: 'app', image: 'a', ...fields }] });

describe('additionsOn', () => {
  const containers = '.spec.template.spec.containers';
  const rows: readonly (readonly [string, Row, readonly string[]])[] = [
    [
      'a command of our container',
      { kind: 'Deployment', ours, theirs: inApp({ 'f:command': {} }), live: appWith({ command: ['sh'] }) },
      [`${containers}[name="app"].command`],
    ],
    [
      'rights of our container, beside those that Git gives',
      {
        kind: 'Deployment',
        ours: inApp({ 'f:name': {}, 'f:securityContext': { 'f:runAsNonRoot': {} } }),
        theirs: inApp({ 'f:securityContext': { 'f:privileged': {} } }),
        live: appWith({ securityContext: { runAsNonRoot: true, privileged: true } }),
      },
      [`${containers}[name="app"].securityContext.privileged`],
    ],
    [
      'a container',
      {
        kind: 'Deployment',
        ours,
        theirs: inPod({ 'f:containers': { 'k:{"name":"x"}': { '.': {}, 'f:name': {} } } }),
        live: pod({ containers: [{ name: 'app' }, { name: 'x' }] }),
      },
      [`${containers}[name="x"]`],
    ],
    [
      'a volume of the node',
      {
        kind: 'DaemonSet',
        ours,
        theirs: inPod({ 'f:volumes': { 'k:{"name":"root"}': { '.': {}, 'f:name': {}, 'f:hostPath': { 'f:path': {} } } } }),
        live: pod({ volumes: [{ name: 'root', hostPath: { path: '/' } }] }),
      },
      ['.spec.template.spec.volumes[name="root"]'],
    ],
    [
      'the network of the node',
      { kind: 'StatefulSet', ours, theirs: inPod({ 'f:hostNetwork': {} }), live: pod({ hostNetwork: true }) },
      ['.spec.template.spec.hostNetwork'],
    ],
    [
      'a way in through a NetworkPolicy',
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        ours: { 'f:spec': { 'f:podSelector': {}, 'f:policyTypes': {} } },
        theirs: { 'f:spec': { 'f:ingress': {} } },
        live: { spec: { podSelector: {}, ingress: [{}] } },
      },
      ['.spec.ingress'],
    ],
    [
      'subjects of a binding that has none in Git',
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'RoleBinding',
        ours: { 'f:roleRef': {} },
        theirs: { 'f:subjects': {} },
        live: { subjects: [{ kind: 'User', name: 'x' }] },
      },
      ['.subjects'],
    ],
  ];
  it.each(rows)('tells %s', (_what, row, paths) => {
    expect(added(row)).toEqual(paths);
  });

  const command: Row = { kind: 'Deployment', ours, theirs: inApp({ 'f:command': {} }), live: appWith({ command: ['sh'] }) };
  const quiet: readonly (readonly [string, Row])[] = [
    ['what the server defaults', { ...command, theirs: {} }],
    ['what admission made of our own write', { ...command, by: { manager } }],
    ['status', { ...command, by: { subresource: 'status' } }],
    ['an empty value', { ...command, live: appWith({ command: [] }) }],
    [
      'fields that do not weaken anything',
      { ...command, theirs: inApp({ 'f:imagePullPolicy': {} }), live: appWith({ imagePullPolicy: 'Never' }) },
    ],
    [
      'a volume that is not the node',
      { ...command, theirs: inPod({ 'f:volumes': { 'k:{"name":"v"}': { 'f:name': {}, 'f:emptyDir': {} } } }) },
    ],
    ['kinds that decide nothing', { ...command, apiVersion: 'v1', kind: 'ConfigMap' }],
    [
      'the rules of an aggregated role',
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        ours: { 'f:aggregationRule': {} },
        theirs: { 'f:rules': {} },
        live: { rules: [{ verbs: ['get'] }] },
        by: { manager: 'clusterrole-aggregation-controller', operation: 'Apply' },
      },
    ],
  ];
  it.each(quiet)('says nothing of %s', (_what, row) => {
    expect(added(row)).toEqual([]);
  });
});
