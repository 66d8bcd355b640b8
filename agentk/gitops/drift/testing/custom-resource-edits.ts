import { drifted, json, type LiveEdit, merge, none, other, patch, replace } from './edit.ts';

export const customResourceEdits: readonly LiveEdit[] = [
  other('widget', 'nothing', 'none', none),
  other('widget', 'only its status written', 'none', patch('merge', { status: { replicas: 1 } }, 'some-controller', '/status')),
  drifted(
    'widget',
    'scaled',
    patch('merge', { spec: { replicas: 3 } }, 'kubectl-scale', '/scale'),
    ['.spec.replicas'],
    'kubectl-scale',
  ),
  drifted('widget', 'set items swapped', merge({ spec: { tags: ['b', 'a'] } }), ['.spec.tags'], 'nobody'),
  drifted('widget', 'set item removed', merge({ spec: { tags: ['a'] } }), ['.spec.tags["b"]'], 'nobody'),
  other('widget', 'set item added', 'none', merge({ spec: { tags: ['a', 'b', 'c'] } })),
  drifted(
    'widget',
    'keyed items swapped',
    replace((o) => {
      o.spec.parts.reverse();
    }),
    ['.spec.parts'],
    'nobody',
  ),
  drifted('widget', 'keyed item changed', json({ op: 'replace', path: '/spec/parts/1/count', value: 5 }), [
    '.spec.parts[name="two"].count',
  ]),
  drifted('widget', 'keyed item removed', json({ op: 'remove', path: '/spec/parts/1' }), ['.spec.parts[name="two"]'], 'nobody'),
  drifted('widget', 'null filled', merge({ spec: { nothing: 'something' } }), ['.spec.nothing']),
  drifted('widget', 'number turned into text', merge({ spec: { port: 'http' } }), ['.spec.port']),
  drifted('widget', 'free-form map changed', merge({ spec: { free: { x: { y: 2 } } } }), ['.spec.free.x.y']),
  drifted('widget', 'map turned into a scalar', merge({ spec: { free: { x: 1 } } }), ['.spec.free.x']),
  drifted('widget', 'content put into an empty map', merge({ spec: { empty: { z: 1 } } }), ['.spec.empty']),
  drifted('widget', 'atomic map changed', merge({ spec: { whole: { p: 9 } } }), ['.spec.whole']),
  drifted('widget', 'whole spec removed', merge({ spec: null }), ['.spec'], 'nobody'),
];
