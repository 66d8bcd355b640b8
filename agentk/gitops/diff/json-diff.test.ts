import { jsonDiff } from './json-diff.ts';

it('names what differs, and leaves out what the server writes by itself', () => {
  const desired = { kind: 'A', metadata: { name: 'a', labels: { 'example.com/x': '1' } }, spec: { replicas: 3, list: [1, 2] } };
  const live = {
    kind: 'A',
    metadata: { name: 'a', resourceVersion: '9', managedFields: [{}], labels: {} },
    spec: { replicas: 2, list: [1], extra: { on: true } },
    status: { ready: 1 },
  };
  expect(jsonDiff(desired, live)).toEqual([
    { path: '.metadata.labels["example.com/x"]', desired: '"1"', live: undefined },
    { path: '.spec.replicas', desired: '3', live: '2' },
    { path: '.spec.list[1]', desired: '2', live: undefined },
    { path: '.spec.extra', desired: undefined, live: '{"on":true}' },
  ]);
});

it('shows nothing of the content of Secrets', () => {
  const secret = (password: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { annotations: { 'kubectl.kubernetes.io/last-applied-configuration': password, note: password.length } },
    data: { password },
    type: password.length > 3 ? 'a' : 'b',
  });
  const found = jsonDiff(secret('old'), secret('other'));
  expect(found.map(({ path }) => path)).toEqual([
    '.metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]',
    '.metadata.annotations.note',
    '.data.password',
    '.type',
  ]);
  expect(JSON.stringify(found)).not.toMatch(/old|other/);
  expect(jsonDiff({ ...secret('old'), data: undefined }, secret('old'))).toEqual([
    { path: '.data', desired: undefined, live: '(hidden)' },
  ]);
});

it('bounds how much it tells', () => {
  const wide = Object.fromEntries(Array.from({ length: 150 }, (_, index) => [`key-${index}`, 'x'.repeat(1_000)]));
  const found = jsonDiff({ data: wide }, { data: {} });
  expect(found).toHaveLength(101);
  expect(found.at(-1)?.path).toBe('(50 more)');
  expect(found[0]?.desired).toHaveLength(256);
});
