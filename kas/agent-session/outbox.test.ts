import { createBundle } from '../../lib/bundle.ts';
import { NO_OBJECT_CACHE } from '../../lib/object-cache-policy.ts';
import type { AgentConfiguration } from './agent-configuration.ts';
import type { UnitBundle } from './bundle-stream.ts';
import { Outbox } from './outbox.ts';

const signal = new AbortController().signal;
const configuration = (commitId: string): AgentConfiguration => ({
  commitId,
  units: [],
  healthRules: [],
  objectCache: NO_OBJECT_CACHE,
  logLevel: 'info',
});
const bundle = (unit: string, commitId: string): UnitBundle => ({
  unit,
  project: 'p',
  commitId,
  detectedAt: new Date(0),
  incomplete: false,
  sourceId: 's1',
  bundle: createBundle([]),
});

test('the configuration goes before bundles, and only the newest of each is handed out', async () => {
  const outbox = new Outbox();
  outbox.submit(bundle('a', '1'));
  outbox.submit(bundle('b', '1'));
  outbox.submit(bundle('a', '2'));
  outbox.configure(configuration('1'));
  outbox.configure(configuration('2'));
  expect(await outbox.next(signal)).toMatchObject({ configuration: { commitId: '2' } });
  expect(await outbox.next(signal)).toMatchObject({ bundle: { unit: 'a', commitId: '2' } });
  expect(await outbox.next(signal)).toMatchObject({ bundle: { unit: 'b', commitId: '1' } });
});

test('a reader that waits is woken by what comes', async () => {
  const outbox = new Outbox();
  const next = outbox.next(signal);
  outbox.submit(bundle('a', '1'));
  expect(await next).toMatchObject({ bundle: { unit: 'a' } });
});

test('a withdrawn unit is not sent', async () => {
  const outbox = new Outbox();
  outbox.submit(bundle('gone', '1'));
  outbox.withdraw('gone');
  outbox.submit(bundle('here', '1'));
  expect(await outbox.next(signal)).toMatchObject({ bundle: { unit: 'here' } });
});

test('its end, its failure and the signal all end the wait', async () => {
  const ended = new Outbox();
  const end = ended.next(signal);
  ended.end();
  expect(await end).toBeUndefined();

  const failed = new Outbox();
  const failure = failed.next(signal);
  failed.fail(new Error('no more'));
  await expect(failure).rejects.toThrow('no more');

  const controller = new AbortController();
  const cut = new Outbox().next(controller.signal);
  controller.abort(new Error('gone'));
  await expect(cut).rejects.toThrow('gone');
});
