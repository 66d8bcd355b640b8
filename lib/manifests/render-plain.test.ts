import { renderPlain } from './render-plain.ts';

const file = (path: string, text: string): { path: string; content: Buffer } => ({ path, content: Buffer.from(text) });
const options = { defaultNamespace: 'default' };

describe('renderPlain', () => {
  it('puts the objects of all files together, ordered by id', () => {
    const { objects, problems } = renderPlain(
      [
        file(
          'b.yaml',
          'apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n',
        ),
        file('a.json', '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}'),
      ],
      options,
    );

    expect(problems).toEqual([]);
    expect(objects.map(({ source, id }) => [source, id.kind])).toEqual([
      ['a.json:1', 'Namespace'],
      ['b.yaml:1', 'Service'],
      ['b.yaml:5', 'Deployment'],
    ]);
  });

  it('names both places of an object that is defined twice, the default namespace being the same as none', () => {
    const { problems } = renderPlain(
      [
        file('a.yaml', '# first\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n'),
        file('b.yaml', 'apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: web, namespace: default}\n'),
        file('c.yaml', 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: other}\n'),
      ],
      options,
    );

    expect(problems).toEqual([
      {
        severity: 'error',
        reason: 'DuplicateObject',
        message: 'Deployment.apps default/web is defined at a.yaml:2 and again at b.yaml:1; remove one of them',
        file: 'b.yaml',
        line: 1,
        object: 'Deployment.apps default/web',
      },
    ]);
  });

  it('reports the problems of every file', () => {
    const { objects, problems } = renderPlain(
      [file('b.yaml', 'kind: A\n'), file('a.yaml', '\tx: 1\n'), file('c.yaml', 'a: [\n---\n5\n')],
      options,
    );

    expect(objects).toEqual([]);
    expect(problems.map(({ file: path, reason }) => [path, reason])).toEqual([
      ['a.yaml', 'InvalidYaml'],
      ['b.yaml', 'MissingApiVersion'],
      ['b.yaml', 'MissingName'],
      ['c.yaml', 'InvalidYaml'],
      ['c.yaml', 'NotAnObject'],
    ]);
  });
});
