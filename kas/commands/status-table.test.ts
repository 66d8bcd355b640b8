import { Action, DriftOutcome, Health, Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { Severity, UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { formatUnits } from './status-table.ts';

const now = new Date('2026-01-02T03:04:05Z');
const id = { group: 'apps', kind: 'Deployment', namespace: 'shop', name: 'web' };
const synced = UnitStatus.fromPartial({
  agentName: 'prod',
  unit: 'shop',
  phase: Phase.PHASE_SYNCED,
  desiredCommitId: '0123456789abcdef',
  appliedCommitId: '0123456789abcdef',
  agentConnected: true,
  objects: [
    { id, action: Action.ACTION_CONFIGURED, health: Health.HEALTH_CURRENT },
    { id: { ...id, name: 'gone' }, action: Action.ACTION_PRUNED },
  ],
  updatedAt: new Date(now.getTime() - 65_000),
});

test('a unit is a line: who, what, the commit wanted and the one that is live, how many objects are well', () => {
  expect(formatUnits([synced], now).split('\n')).toEqual([
    'AGENT  UNIT  PHASE   DESIRED   APPLIED   OBJECTS  CHANGED  REASON',
    'prod   shop  Synced  01234567  01234567  1/1      1m',
    '',
  ]);
});

test('below the table stands what a person must look at', () => {
  const failed = UnitStatus.fromPartial({
    ...synced,
    agentConnected: false,
    phase: Phase.PHASE_FAILED,
    reason: 'InvalidYaml',
    problems: [{ severity: Severity.SEVERITY_ERROR, reason: 'InvalidYaml', message: 'tab', file: 'web.yaml', line: 3 }],
    objects: [{ id, action: Action.ACTION_FAILED, reason: 'Forbidden', message: 'not allowed', source: 'web.yaml:1' }],
    drifts: [
      {
        id,
        fields: [{ path: '.spec.replicas', desired: '2', live: '5' }],
        manager: 'kubectl',
        changedAt: now,
        outcome: DriftOutcome.DRIFT_OUTCOME_CORRECTED,
      },
    ],
  });
  const text = formatUnits([failed], now);
  expect(text).toContain('prod (offline)');
  expect(text).toContain('prod / shop:\n  error: web.yaml:3: tab (InvalidYaml)\n');
  expect(text).toContain('  web.yaml:1: Deployment.apps shop/web: not allowed (Forbidden)\n');
  expect(text).toContain(
    '  drift: Deployment.apps shop/web: .spec.replicas 5 instead of 2 by kubectl at 2026-01-02T03:04:05.000Z, corrected\n',
  );
});

test('a unit that people have suspended or pinned says since when, until when and why', () => {
  const commitId = 'b'.repeat(40);
  const held = UnitStatus.fromPartial({
    ...synced,
    phase: Phase.PHASE_SUSPENDED,
    reason: 'Suspended',
    suspension: { since: now, reason: 'release freeze' },
    pin: { commitId, expiresAt: new Date('2026-01-03T00:00:00Z'), since: now, reason: '' },
  });
  const text = formatUnits([held], now);
  expect(text).toMatch(/^prod +shop +Suspended /m);
  expect(text).toContain('  suspended since 2026-01-02T03:04:05.000Z: release freeze\n');
  expect(text).toContain(`  pinned to ${commitId} until 2026-01-03T00:00:00.000Z\n`);
});

test('no units is said in words', () => {
  expect(formatUnits([], now)).toMatch(/^No units/);
});
