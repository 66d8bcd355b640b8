import { ConnectRequest } from '../../proto/gen/kas/agent/v1/session.ts';
import type { Drift, ObjectResult, SyncState } from '../gitops/unit.ts';
import { StatusReporter } from './status-reporter.ts';

const result = (name: string, changes: Partial<ObjectResult> = {}): ObjectResult => ({
  id: { group: '', kind: 'ConfigMap', namespace: 'a', name },
  action: 'created',
  reason: '',
  message: '',
  source: `${name}.yaml:1`,
  health: 'in_progress',
  healthMessage: '',
  ...changes,
});

const state = (changes: Partial<SyncState> = {}): SyncState => ({
  unit: 'u',
  commitId: 'c1',
  bundleDigest: 'ab',
  phase: 'progressing',
  reason: 'Applying',
  message: '',
  startedAt: new Date(1),
  finishedAt: undefined,
  objects: [result('one'), result('two')],
  ...changes,
});

const drift = (name: string): Drift => ({
  unit: 'u',
  project: 'g/p',
  commitId: 'c1',
  id: { group: '', kind: 'ConfigMap', namespace: 'a', name },
  deleted: false,
  fields: [{ path: '.data.a', desired: '"1"', live: undefined }],
  manager: 'kubectl-edit',
  changedAt: new Date(2),
  detectedAt: new Date(3),
  outcome: 'corrected',
  resolvedAt: new Date(4),
  message: '',
});

/** The next message of a connection, which must already be there. */
async function next(messages: AsyncGenerator<ConnectRequest, void, void>): Promise<NonNullable<ConnectRequest['message']>> {
  const { value } = await messages.next();
  if (value?.message === undefined) throw new Error('no message');
  return value.message;
}

describe('a connection', () => {
  const ended = new AbortController();
  afterAll(() => ended.abort());

  test('begins with the whole state of every unit and goes on with what changes', async () => {
    const reporter = new StatusReporter();
    reporter.sync(state());
    const messages = reporter.messages(ended.signal);
    expect(await next(messages)).toMatchObject({ $case: 'syncReport', value: { unit: 'u', last: true, objects: [{}, {}] } });

    reporter.sync(state({ objects: [result('one'), result('two', { health: 'current' })] }));
    expect(await next(messages)).toMatchObject({ $case: 'objectReport', value: { objects: [{ id: { name: 'two' } }] } });

    reporter.sync(state({ phase: 'synced', finishedAt: new Date(9) }));
    expect(await next(messages)).toMatchObject({ $case: 'syncReport', value: { finishedAt: new Date(9) } });
  });

  test('sends the newest state only of a unit that changed several times', async () => {
    const reporter = new StatusReporter();
    for (const commitId of ['c1', 'c2', 'c3']) reporter.sync(state({ commitId }));
    reporter.drift(drift('one'));
    const messages = reporter.messages(ended.signal);
    expect(await next(messages)).toMatchObject({ $case: 'syncReport', value: { commitId: 'c3' } });
    expect(await next(messages)).toMatchObject({ $case: 'drift' });
  });

  test('splits the report of a unit with many objects so that every message stays below 1 MiB', async () => {
    const reporter = new StatusReporter();
    const text = 'ü'.repeat(2_000);
    reporter.sync(
      state({ objects: Array.from({ length: 450 }, (_, i) => result(`n${i}`, { message: text, healthMessage: text })) }),
    );
    const messages = reporter.messages(ended.signal);
    let objects = 0;
    for (let last = false; !last; ) {
      const part = await next(messages);
      if (part.$case !== 'syncReport') throw new Error(part.$case);
      expect(ConnectRequest.encode({ message: part }).finish().length).toBeLessThan(1 << 20);
      objects += part.value.objects.length;
      last = part.value.last;
    }
    expect(objects).toBe(450);
  });

  test('sends again what the connection before it may have lost', async () => {
    const reporter = new StatusReporter();
    reporter.drift(drift('one'));
    const first = new AbortController();
    const lost = reporter.messages(first.signal);
    await next(lost);
    first.abort();
    await lost.return();
    expect(await next(reporter.messages(ended.signal))).toMatchObject({ $case: 'drift', value: { id: { name: 'one' } } });
  });
});

test('without a connection the oldest drifts go first, and their number is known', () => {
  const reporter = new StatusReporter();
  for (let i = 0; i < 1_010; i += 1) reporter.drift(drift(`n${i}`));
  expect(reporter.takeDropped()).toBe(10);
  expect(reporter.takeDropped()).toBe(0);
});

test('a unit that left the configuration is not reported any more', async () => {
  const reporter = new StatusReporter();
  reporter.sync(state());
  reporter.sync(state({ unit: 'v' }));
  reporter.forget('u');
  const controller = new AbortController();
  const messages = reporter.messages(controller.signal);
  expect(await next(messages)).toMatchObject({ value: { unit: 'v' } });
  controller.abort();
  expect((await messages.next()).done).toBe(true);
});
