import type { LiveObject } from '../../kube/cluster.ts';
import { covers } from './covers.ts';

const live = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', uid: 'u', resourceVersion: '1', labels: { app: 'web', extra: 'yes' } },
  spec: {
    replicas: 2,
    paused: false,
    strategy: {},
    args: ['a', 'b'],
    containers: [{ name: 'app', image: 'i:1', policy: 'Always' }],
  },
} as LiveObject;

describe('A live object covers a manifest', () => {
  it.each<[string, object]>([
    ['that says less', { kind: 'Deployment', spec: { replicas: 2 } }],
    ['whose items have defaults by now', { spec: { containers: [{ name: 'app', image: 'i:1' }] } }],
    ['with its labels among others', { metadata: { name: 'web', labels: { app: 'web' } } }],
    ['that leaves a field open', { spec: { replicas: 2, selector: null } }],
    ['with an empty object that is still empty, or not kept', { spec: { strategy: {}, template: {} } }],
  ])('%s', (_title, manifest) => expect(covers(JSON.stringify(manifest), live)).toBe(true));

  it.each<[string, object]>([
    ['with another value', { spec: { replicas: 3 } }],
    ['with a field it does not have', { spec: { minReadySeconds: 5 } }],
    ['with a list in another order', { spec: { args: ['b', 'a'] } }],
    ['with a shorter list', { spec: { args: ['a'] } }],
    ['with an empty object that somebody filled', { metadata: { labels: {} } }],
    ['with a list that it does not have', { spec: { volumes: [{ name: 'v' }] } }],
  ])('but not one %s', (_title, manifest) => expect(covers(JSON.stringify(manifest), live)).toBe(false));
});
