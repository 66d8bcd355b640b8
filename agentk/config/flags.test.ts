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
  [[...required, '--leader-election', 'no'], '--leader-election is true or false, not "no"'],
  [[...required, '--lease-name', 'A_b'], '--lease-name is made of lower-case letters'],
  [[...required, '--lease-duration', '2s'], '--lease-duration is a time of whole seconds from 3s to 10m, not "2s"'],
  [[...required, '--lease-duration', '3500ms'], 'whole seconds'],
  [[...required, '--lease-duration', 'long'], 'whole seconds'],
  [[...required, '--observability-address', '8151'], '--observability-address must be an address with a port'],
  [[...required, '--agent-id', '0'], '--agent-id is a number from 1, not "0"'],
  [[...required, '--log-level', 'loud'], '--log-level is one of debug, info, warn, error, not "loud"'],
])('%j is refused with its reason', (args, message) => {
  expect(() => parseFlags(args, {})).toThrow(message);
});

test('replicas take turns by a lease unless told otherwise', () => {
  expect(parseFlags(required, {})).toMatchObject({ leaderElection: { leaseName: 'agentk', leaseDurationMs: 15_000 } });
  const other = [...required, '--lease-name', 'agentk-two', '--lease-duration=1m'];
  expect(parseFlags(other, { POD_UID: 'u' })).toMatchObject({
    leaderElection: { leaseName: 'agentk-two', leaseDurationMs: 60_000 },
    podUid: 'u',
  });
  expect(parseFlags([...required, '--leader-election=false'], {})).toMatchObject({ leaderElection: undefined });
});

test('what a kas of GitLab does not say is said by flags', () => {
  expect(parseFlags(required, {})).toMatchObject({ agentId: undefined, unitSettingsFile: undefined });
  expect(parseFlags([...required, '--agent-id', '5', '--unit-settings', 'u.yaml'], {})).toMatchObject({
    agentId: 5,
    unitSettingsFile: 'u.yaml',
  });
});

test('help and version are told apart from a run', () => {
  expect(parseFlags(['--help'], {})).toBe('help');
  expect(parseFlags(['--version'], {})).toBe('version');
});

test('probes are answered where an address is given', () => {
  expect(parseFlags(required, {})).toMatchObject({ observabilityAddress: undefined });
  const given = parseFlags([...required, '--observability-address=:8151'], {});
  expect(given).toMatchObject({ observabilityAddress: { host: '0.0.0.0', port: 8151 } });
});
