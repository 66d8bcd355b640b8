import { FieldMask, parseFieldPath } from './field-mask.ts';

describe('a field path', () => {
  it.each([
    ['status.phase', ['status', 'phase']],
    ['metadata.annotations["example.com/a"]', ['metadata', 'annotations', 'example.com/a']],
    ['data["a.b"].c', ['data', 'a.b', 'c']],
    [String.raw`data["say \"x\" \\"]`, ['data', 'say "x" \\']],
  ])('%s has its names', (text, names) => {
    expect(parseFieldPath(text)).toEqual(names);
  });

  it.each(['', '.', 'a..b', '.a', 'a.', 'a[0]', 'a["b', 'a["b"]c', '["a"'])('%j is refused', (text) => {
    expect(() => parseFieldPath(text)).toThrow(`"${text}" is not a field`);
  });
});

describe('a field mask', () => {
  const pod = {
    kind: 'Pod',
    metadata: { name: 'a', labels: { app: 'web' } },
    spec: { containers: [{ name: 'x', image: 'i' }, { name: 'y' }], nodeName: null },
    status: { phase: 'Running' },
  };

  it('picks what is named, and looks through lists', () => {
    const mask = new FieldMask(['kind', 'metadata.labels', 'spec.containers.image', 'status.phase.none', 'missing.field']);
    expect(mask.apply(pod)).toEqual({
      kind: 'Pod',
      metadata: { labels: { app: 'web' } },
      spec: { containers: [{ image: 'i' }, {}] },
    });
  });

  it('takes the whole where a part of it is named as well', () => {
    expect(new FieldMask(['metadata.labels.app', 'metadata']).apply(pod)).toEqual({ metadata: pod.metadata });
    expect(new FieldMask(['metadata', 'metadata.labels.app']).apply(pod)).toEqual({ metadata: pod.metadata });
  });

  it('does not reach into what every object inherits', () => {
    expect(new FieldMask(['constructor', '__proto__', 'metadata.toString']).apply(pod)).toEqual({});
  });
});
