import { DecodedFiles } from './decoded-files.ts';

const content = (): Buffer => Buffer.from('apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n');

test('a content is decoded once for each path, which is part of the result', () => {
  const files = new DecodedFiles();
  const same = content();
  const first = files.decode('a.yaml', same);
  expect(files.decode('a.yaml', same)).toBe(first);
  expect(files.decode('b.yaml', same).objects[0]?.source).toBe('b.yaml:1');
  expect(files.decode('a.yaml', content())).not.toBe(first);
});

test('a content that moves with every commit is not remembered at every path', () => {
  const files = new DecodedFiles();
  const same = content();
  const first = files.decode('0.yaml', same);
  for (let index = 1; index < 10; index += 1) files.decode(`${index}.yaml`, same);
  expect(files.decode('0.yaml', same)).not.toBe(first);
});
