import { DEFAULT_POLICY } from '../../lib/unit-policy.ts';
import { parseUnitSettings } from './unit-settings.ts';

test('a unit has its own keys, then those for all units, then the defaults', () => {
  const settings = parseUnitSettings(
    `defaults: {inventory_policy: adopt_all, prune_timeout: 60s, drift: {policy: report}}
units:
  team/app: {prune: false, drift: {additions: remove}}
`,
    'settings.yaml',
  );
  expect(settings.policyFor('team/app')).toEqual({
    ...DEFAULT_POLICY,
    inventoryPolicy: 'adopt_all',
    pruneTimeoutMs: 60_000,
    prune: false,
    driftAdditions: 'remove',
  });
  expect(settings.policyFor('constructor')).toEqual({
    ...DEFAULT_POLICY,
    inventoryPolicy: 'adopt_all',
    pruneTimeoutMs: 60_000,
    driftPolicy: 'report',
  });
});

test('an empty file leaves the defaults', () => {
  const settings = parseUnitSettings('', 'settings.yaml');
  expect(settings.policyFor('team/app')).toEqual(DEFAULT_POLICY);
  expect(settings.healthRules).toEqual([]);
});

test('health rules are those of the configuration file', () => {
  const text = 'health_rules: [{api_group: example.com, kind: Widget, current: object.status.ok}]';
  expect(parseUnitSettings(text, 'settings.yaml').healthRules).toEqual([
    { group: 'example.com', kind: 'Widget', inProgress: '', failed: '', current: 'object.status.ok' },
  ]);
});

test.each([
  ['defaults: {prun: false}', /settings\.yaml:1: defaults\.prun: unknown key; did you mean "prune"\?/],
  ['units: {team/app: {prune: maybe}}', /settings\.yaml:1: units.*prune: must be true or false, but is text/],
  ['units: {team/app: {default_namespace: x}}', /unknown key/],
])('%s is refused with file and line', (text, message) => {
  expect(() => parseUnitSettings(text, 'settings.yaml')).toThrow(message);
});
