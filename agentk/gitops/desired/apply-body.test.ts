import fc from 'fast-check';
import { contentDigest } from '../../../lib/bundle.ts';
import { applyBody, topLevelFields } from './apply-body.ts';

function body(text: string, kind = 'ConfigMap', group = '', uid?: string): string {
  const id = { group, kind, namespace: 'demo', name: 'a' };
  const content = Buffer.from(text);
  const stamp = { id, labels: { set: 's' }, annotations: { digest: 'd' }, uid };
  return applyBody({ id, digest: contentDigest(content), source: 'a.yaml:1', content }, stamp);
}

describe('The body of an apply', () => {
  it('has our labels beside those of the manifest, and the namespace it goes to', () => {
    const text = body('{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"own":"1"}},"data":{"x":"1"}}');
    expect(JSON.parse(text)).toEqual({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'a', namespace: 'demo', labels: { own: '1', set: 's' }, annotations: { digest: 'd' } },
      data: { x: '1' },
    });
  });

  it('copies numbers that JavaScript cannot hold', () => {
    expect(body('{ "metadata": {"name":"a"}, "spec": {"big": 9007199254740993, "e": 1e400} }')).toContain(
      '"spec":{\n"big": 9007199254740993, "e": 1e400}',
    );
  });

  it('has a line break behind each opening bracket, and none within a string', () => {
    const text = body('{"kind":"ConfigMap","metadata":{},"data":{"a":"{[\\"{","b":"\\\\"},"list":[{},[]]}');
    expect(text.slice(text.indexOf('"data"'))).toBe('"data":{\n"a":"{[\\"{","b":"\\\\"},"list":[\n{\n},[\n]]}');
    expect(text.startsWith('{\n"kind"')).toBe(true);
  });

  it('leaves out what the server sets', () => {
    const metadata = { name: 'a', uid: 'u', resourceVersion: '5', managedFields: [], creationTimestamp: null, generation: 3 };
    const sent = JSON.parse(body(JSON.stringify({ metadata, status: { phase: 'x' } })));
    expect(sent).toEqual({ metadata: { name: 'a', namespace: 'demo', labels: { set: 's' }, annotations: { digest: 'd' } } });
  });

  it("leaves out kubectl's note of what it applied", () => {
    const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': '{}', own: '1' };
    expect(JSON.parse(body(JSON.stringify({ metadata: { annotations } }))).metadata.annotations).toEqual({
      own: '1',
      digest: 'd',
    });
  });

  it('carries the uid that must be met', () => {
    expect(JSON.parse(body('{"metadata":{}}', 'ConfigMap', '', 'u-1')).metadata.uid).toBe('u-1');
  });

  it('says the data of a Secret in one way only', () => {
    const text = '{"metadata":{},"stringData":{"a":"ä"},"data":{"a":"eA==","b":"eQ=="}}';
    const sent = JSON.parse(body(text, 'Secret'));
    expect(sent.data).toEqual({ a: Buffer.from('ä').toString('base64'), b: 'eQ==' });
    expect(sent).not.toHaveProperty('stringData');
  });

  it('does not claim the rules of a ClusterRole that the server aggregates', () => {
    const text = '{"metadata":{},"aggregationRule":{"clusterRoleSelectors":[]},"rules":[]}';
    expect(JSON.parse(body(text, 'ClusterRole', 'rbac.authorization.k8s.io'))).not.toHaveProperty('rules');
  });
});

describe('topLevelFields', () => {
  it('splits any JSON object into the members it has', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom(0, 2), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        const fields = Object.fromEntries([...topLevelFields(text)].map(([name, field]) => [name, JSON.parse(field)]));
        expect(fields).toEqual(JSON.parse(text));
      }),
    );
  });
});
