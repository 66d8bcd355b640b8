import { createLogger } from '../../lib/log.ts';
import { AGENT, clusterEvent, drift, objectResult, problem, report, source } from './status-fixture.ts';
import { SyncLog } from './sync-log.ts';

let lines: Record<string, unknown>[];
let log: SyncLog;

beforeEach(() => {
  lines = [];
  log = new SyncLog(
    createLogger('kas', 'debug', { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) }),
  );
  log.source(AGENT, 'shop', source('c1'));
});

test('a drift is one line with object, fields, the manager that changed it, when, and what became of it', () => {
  log.drift(AGENT, drift(1_000_010));
  expect(lines).toEqual([
    expect.objectContaining({
      level: 'info',
      msg: 'Drift',
      agent: 'seven',
      project: 'team/app',
      unit: 'shop',
      commit: 'c1',
      object: 'Deployment.apps shop/web',
      fields: ['.spec.replicas'],
      manager: 'kubectl',
      changedAt: new Date(1_000_000).toISOString(),
      outcome: 'corrected',
    }),
  ]);
  log.drift(AGENT, drift(2_000_000, { outcome: 'failed', message: 'forbidden' }));
  expect(lines[1]).toMatchObject({ level: 'warn', outcome: 'failed', detail: 'forbidden' });
});

test('a sync is one line when it ends, however often it is reported', () => {
  log.sync(AGENT, report('c1', { phase: 'progressing', finishedAt: undefined, objects: undefined }));
  log.sync(AGENT, report('c1'));
  log.sync(AGENT, report('c1'));
  log.objects(AGENT, { unit: 'shop', objects: [], phase: 'synced', reason: '', message: '' });
  expect(lines).toEqual([
    expect.objectContaining({
      level: 'info',
      msg: 'Synced',
      commit: 'c1',
      project: 'team/app',
      objects: 1,
      configured: 1,
      durationMs: 1_000,
    }),
  ]);
});

test('a failed sync names each object that failed', () => {
  const failed = objectResult('web', { action: 'failed', reason: 'Forbidden', message: 'not allowed' });
  log.sync(
    AGENT,
    report('c1', { phase: 'failed', reason: 'ApplyFailed', message: '1 of 2 failed', objects: [failed, objectResult('ok')] }),
  );
  expect(lines).toEqual([
    expect.objectContaining({ level: 'warn', msg: 'Sync failed', reason: 'ApplyFailed', detail: '1 of 2 failed', failed: 1 }),
    expect.objectContaining({
      level: 'warn',
      msg: 'Object failed',
      object: 'Deployment.apps shop/web',
      file: 'web.yaml:1',
      reason: 'Forbidden',
    }),
  ]);
});

test('a broken source is said once, and so is its recovery', () => {
  log.source(AGENT, 'shop', source('c2', { problems: [problem()] }));
  log.source(AGENT, 'shop', source('c2', { problems: [problem()] }));
  log.source(AGENT, 'shop', source('c3'));
  expect(lines.map(({ level, msg, commit, file, line }) => [level, msg, commit, file, line])).toEqual([
    ['warn', 'Sync source failed', 'c2', 'a.yaml', 3],
    ['info', 'Sync source recovered', 'c3', undefined, undefined],
  ]);
});

test('warnings from the cluster are warnings here, other events are for debugging', () => {
  log.event(AGENT, clusterEvent());
  log.event(AGENT, clusterEvent({ type: 'Normal', reason: 'Pulled' }));
  expect(lines).toMatchObject([
    { level: 'warn', msg: 'Cluster event', object: 'Pod shop/web-1', reason: 'BackOff', project: 'team/app' },
    { level: 'debug', reason: 'Pulled' },
  ]);
});

test('an agent that reports ever more units does not fill the memory: the oldest are forgotten', () => {
  const said: string[] = [];
  const log = new SyncLog(createLogger('test', 'info', { write: (line) => void said.push(line) }));
  const agent = { id: 1, name: 'one' };
  const report = (unit: string): void => log.objects(agent, { unit, objects: [], phase: 'progressing', reason: '', message: '' });
  const failed = (): void => log.objects(agent, { unit: 'first', objects: [], phase: 'failed', reason: 'R', message: 'm' });
  failed();
  failed();
  expect(said).toHaveLength(1);
  for (let index = 0; index < 100_000; index++) report(`unit-${index}`);
  failed();
  expect(said).toHaveLength(2);
});
