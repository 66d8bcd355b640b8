import fc from 'fast-check';
import { formatReference, NO_HINTS, orderHints, parseReference } from './hints.ts';

describe('References of depends-on', () => {
  it.each([
    ['apps/namespaces/shop/Deployment/db', { group: 'apps', kind: 'Deployment', namespace: 'shop', name: 'db' }],
    ['/namespaces/shop/ConfigMap/settings', { group: '', kind: 'ConfigMap', namespace: 'shop', name: 'settings' }],
    ['/Namespace/shop', { group: '', kind: 'Namespace', namespace: '', name: 'shop' }],
    [
      'rbac.authorization.k8s.io/ClusterRole/a:b',
      { group: 'rbac.authorization.k8s.io', kind: 'ClusterRole', namespace: '', name: 'a:b' },
    ],
  ])('%s names an object', (text, id) => {
    expect(parseReference(text)).toEqual(id);
    expect(formatReference(id)).toBe(text);
  });

  it.each([
    '',
    'db',
    'Deployment/db',
    'apps/namespaces/shop/Deployment',
    'apps/shop/Deployment/db',
    '/namespaces//ConfigMap/a',
    '//a',
    'a/b/c/d/e',
  ])('"%s" names none', (text) => {
    expect(parseReference(text)).toBeUndefined();
  });

  it('never throw, and come back as they went in', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const id = parseReference(text);
        expect(id === undefined ? text : formatReference(id)).toBe(text);
      }),
    );
  });
});

describe('The order that annotations ask for', () => {
  it('is nothing without them', () => {
    expect(orderHints(undefined)).toBe(NO_HINTS);
    expect(orderHints({ 'kas.gitops/wave': '0', other: 'x' })).toBe(NO_HINTS);
  });

  it('is a wave and a list of objects, each named once', () => {
    const hints = orderHints({
      'kas.gitops/wave': ' -3 ',
      'kas.gitops/depends-on': '/Namespace/a, apps/namespaces/a/Deployment/b,',
      'config.kubernetes.io/depends-on': '/Namespace/a',
    });
    expect(hints).toMatchObject({ wave: -3, errors: [], warnings: [] });
    expect(hints.dependsOn.map(formatReference)).toEqual(['/Namespace/a', 'apps/namespaces/a/Deployment/b']);
  });

  it("prefers our wave to Argo CD's", () => {
    expect(orderHints({ 'argocd.argoproj.io/sync-wave': '4' }).wave).toBe(4);
    expect(orderHints({ 'argocd.argoproj.io/sync-wave': '4', 'kas.gitops/wave': '5' }).wave).toBe(5);
  });

  it.each(['', 'one', '1.5', '1e3', '99999999999', '0x10'])('refuses our wave "%s" with a remedy', (text) => {
    expect(orderHints({ 'kas.gitops/wave': text })).toMatchObject({
      wave: 0,
      errors: [expect.stringContaining('write an integer')],
    });
  });

  it("counts Argo CD's wave as 0 when it is none, as Argo CD does, and warns", () => {
    const hints = orderHints({ 'argocd.argoproj.io/sync-wave': 'first' });
    expect(hints).toMatchObject({ wave: 0, errors: [], warnings: [expect.stringContaining('"first" is no integer')] });
  });

  it('keeps the good references beside a bad one', () => {
    const hints = orderHints({ 'kas.gitops/depends-on': '/Namespace/a,,b' });
    expect(hints.dependsOn).toHaveLength(1);
    expect(hints.errors).toEqual([expect.stringContaining('"" names no object'), expect.stringContaining('"b" names no object')]);
  });
});
