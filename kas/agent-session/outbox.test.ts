import { NO_API_ACCESS } from '../../lib/api-access.ts';
import { createBundle } from '../../lib/bundle.ts';
import { NO_OBJECT_CACHE } from '../../lib/object-cache-policy.ts';
import { NO_ACCESS } from '../agent-configuration/access-policy.ts';
import type { AgentConfiguration } from './agent-configuration.ts';
import type { UnitBundle } from './bundle-stream.ts';
import { Outbox } from './outbox.ts';

const configuration = (commitId: string): AgentConfiguration => ({
  commitId,
  units: [],
  healthRules: [],
  access: NO_ACCESS,
  httpServices: [],
  apiAccess: NO_API_ACCESS,
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

test('the configuration goes before bundles, and only the newest of each is handed out', () => {
  const outbox = new Outbox();
  outbox.submit(bundle('a', '1'));
  outbox.submit(bundle('b', '1'));
  outbox.submit(bundle('a', '2'));
  outbox.configure(configuration('1'));
  outbox.configure(configuration('2'));
  expect(outbox.take()).toMatchObject({ configuration: { commitId: '2' } });
  expect(outbox.take()).toMatchObject({ bundle: { unit: 'a', commitId: '2' } });
  expect(outbox.take()).toMatchObject({ bundle: { unit: 'b', commitId: '1' } });
  expect(outbox.take()).toBeUndefined();
});

test('a command follows the bundles, once however often it was given', () => {
  const outbox = new Outbox();
  outbox.command('a', { type: 'resync' });
  outbox.command('a', { type: 'resync' });
  outbox.submit(bundle('a', '1'));
  expect(outbox.take()).toMatchObject({ type: 'bundle' });
  expect(outbox.take()).toEqual({ type: 'command', unit: 'a', command: { type: 'resync' } });
  expect(outbox.take()).toBeUndefined();
});

test('a withdrawn unit is not sent', () => {
  const outbox = new Outbox();
  outbox.submit(bundle('gone', '1'));
  outbox.withdraw('gone');
  outbox.submit(bundle('here', '1'));
  expect(outbox.take()).toMatchObject({ bundle: { unit: 'here' } });
});
