import {
  agentManager,
  applyAsUs,
  drifted,
  type EditableObject,
  inTurn,
  json,
  type LiveEdit,
  merge,
  nextSecond,
  none,
  other,
  patch,
  person,
  replace,
} from './edit.ts';

export const metadataEdits: readonly LiveEdit[] = [
  drifted('configMap', 'label changed', merge({ metadata: { labels: { tier: 'back' } } }), ['.metadata.labels.tier']),
  drifted(
    'configMap',
    'label with dots removed',
    merge({ metadata: { labels: { 'app.kubernetes.io/name': null } } }),
    ['.metadata.labels["app.kubernetes.io/name"]'],
    'nobody',
  ),
  drifted('configMap', 'all labels removed', merge({ metadata: { labels: null } }), ['.metadata.labels'], 'nobody'),
  drifted('secret', 'annotation changed', merge({ metadata: { annotations: { note: 'theirs' } } }), [
    '.metadata.annotations.note',
  ]),
  drifted(
    'deployment',
    'annotation changed through /status',
    patch('merge', { metadata: { annotations: { note: 'theirs' } } }, person, '/status'),
    ['.metadata.annotations.note'],
  ),
  other('configMap', 'label added', 'none', merge({ metadata: { labels: { extra: 'x' } } })),
  other('service', 'finalizer added', 'none', json({ op: 'add', path: '/metadata/finalizers', value: ['example.org/keep'] })),
];

export const configurationEdits: readonly LiveEdit[] = [
  other('configMap', 'nothing', 'none', none),
  drifted('configMap', 'value changed in a later second', inTurn(nextSecond, merge({ data: { a: '9' } })), ['.data.a']),
  drifted('configMap', 'key removed in a later second', inTurn(nextSecond, merge({ data: { b: null } })), ['.data.b'], 'nobody'),
  drifted('configMap', 'value changed', merge({ data: { a: '9' } }), ['.data.a']),
  drifted('configMap', 'key with a dot changed', merge({ data: { 'app.conf': 'y' } }), ['.data["app.conf"]']),
  drifted('configMap', 'key removed', merge({ data: { b: null } }), ['.data.b'], 'nobody'),
  drifted('configMap', 'all data removed', merge({ data: null }), ['.data'], 'nobody'),
  drifted(
    'configMap',
    'value changed by another applier',
    patch('apply', { apiVersion: 'v1', kind: 'ConfigMap', data: { a: '9' } }, 'team-b'),
    ['.data.a'],
    'team-b',
  ),
  drifted(
    'configMap',
    'replaced under our name',
    replace((o) => {
      o.data.a = '9';
    }, agentManager),
    ['.data.a'],
    agentManager,
  ),
  drifted(
    'configMap',
    'replaced under our name without managedFields',
    replace((o) => {
      o.data.a = '9';
      o.metadata.managedFields = undefined;
    }, agentManager),
    ['.data.a'],
    agentManager,
  ),
  drifted(
    'configMap',
    'applied under our name with another value',
    applyAsUs((o) => {
      o.data.a = '9';
    }),
    ['.data.a'],
    agentManager,
  ),
  drifted(
    'configMap',
    'applied under our name without a key',
    applyAsUs((o) => {
      o.data.b = undefined;
    }),
    ['.data.b'],
    agentManager,
  ),
  drifted(
    'configMap',
    'managedFields wiped and a value changed',
    replace((o) => {
      o.data.a = '9';
      o.metadata.managedFields = [{}];
    }),
    ['.data.a'],
    'nobody',
  ),
  drifted(
    'configMap',
    'edited, then managedFields forged back',
    inTurn(merge({ data: { a: '9' } }), async ({ api, path, applied }) => {
      const live = structuredClone(await api.get(path)) as unknown as EditableObject;
      live.metadata.managedFields = applied.metadata.managedFields;
      return await api.replace(path, person, live);
    }),
    ['.data.a'],
    'nobody',
  ),
  other(
    'configMap',
    'managedFields wiped',
    'reown',
    replace((o) => {
      o.metadata.managedFields = [{}];
    }),
  ),
  other('configMap', 'edited and back', 'reown', inTurn(merge({ data: { a: '9' } }), merge({ data: { a: '1' } }))),
  other(
    'configMap',
    'same value applied by another',
    'none',
    patch('apply', { apiVersion: 'v1', kind: 'ConfigMap', data: { a: '1' } }, 'team-b'),
  ),
  other(
    'configMap',
    'applied under our name with a field more',
    'reown',
    applyAsUs((o) => {
      o.data.c = '3';
    }),
  ),
  other('configMap', 'key added', 'none', merge({ data: { c: '3' } })),
  drifted('secret', 'data changed', merge({ data: { token: 'bmV3' } }), ['.data.token']),
  drifted('secret', 'data changed through stringData', merge({ stringData: { token: 'newer' } }), ['.data.token']),
  drifted('secret', 'key removed', merge({ data: { token: null } }), ['.data'], 'nobody'),
  {
    subject: 'configMap',
    title: 'applied under our name with the same values, but first edited',
    edit: inTurn(
      merge({ data: { a: '9' } }),
      applyAsUs(() => undefined),
    ),
    verdict: 'applied_by_other',
    paths: [],
  },
];
