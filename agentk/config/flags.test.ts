import { parseFlags } from './flags.ts';

const required = ['--kas-address', 'grpc://kas:8150', '--token-file', '/token'];

test('the namespace of the pod is where the inventories go', () => {
  expect(parseFlags(required, { POD_NAMESPACE: 'gitops', POD_NAME: 'agentk-0' })).toMatchObject({
    namespace: 'gitops',
    podName: 'agentk-0',
  });
  expect(parseFlags(required, {})).toMatchObject({ namespace: 'gitops-agent', kasAddress: 'grpc://kas:8150', logLevel: 'info' });
});

test.each([
  [['--token-file', 't'], '--kas-address is missing'],
  [['--kas-address', 'grpc://a:1'], '--token-file is missing'],
  [[...required, '--colour'], "Unknown option '--colour'"],
  [[...required, '--log-level', 'loud'], '--log-level is one of debug, info, warn, error, not "loud"'],
])('%j is refused with its reason', (args, message) => {
  expect(() => parseFlags(args, {})).toThrow(message);
});

test('help and version are told apart from a run', () => {
  expect(parseFlags(['--help'], {})).toBe('help');
  expect(parseFlags(['--version'], {})).toBe('version');
});
