import { createBundle } from '../../lib/bundle.ts';
import { DEFAULT_POLICY } from '../../lib/unit-policy.ts';
import { silentLog } from '../../test/harness/silent-log.ts';
import { until } from '../gitaly/gitaly-fixture.ts';
import type { ProjectInfo, Registry } from '../registry/registry.ts';
import { MemoryStatusStore } from '../sync-status/memory-status-store.ts';
import { SyncLog } from '../sync-status/sync-log.ts';
import { SyncStatusRecorder } from '../sync-status/sync-status-recorder.ts';
import type { UnitSource } from '../units/unit-source.ts';
import type { AgentUnit } from './agent-configuration.ts';
import type { UnitBundle } from './bundle-stream.ts';
import { UnitFeeds } from './unit-feeds.ts';

const AGENT = { id: 1, name: 'one', project: 'team/one' };

const unit = (name: string, changes: Partial<AgentUnit> = {}): AgentUnit => ({
  name,
  project: 'team/app',
  ref: undefined,
  globs: ['**/*.yaml'],
  ...DEFAULT_POLICY,
  ...changes,
});

const registry: Registry = {
  agentByToken: async () => AGENT,
  configurationProject: async () => project('team/one'),
  manifestProject: async (_, path) => project(path),
  onChange: () => () => undefined,
};

function project(path: string): ProjectInfo {
  const gitaly = { address: 'tcp://127.0.0.1:1', token: '' };
  return {
    path,
    location: { gitaly, storageName: 'default', relativePath: `${path}.git`, glRepository: '', glProjectPath: path },
  };
}

/** Units at one commit, named after their ref. */
const units: UnitSource = {
  subscribe({ ref = 'default' }, subscriber) {
    const rendered = { commitId: ref, bundle: createBundle([]), incomplete: false };
    subscriber.next({ ref, commitId: ref, detectedAt: new Date(0), problems: [], rendered });
    return () => undefined;
  },
};

test('a new configuration names the units whose bundles are void: those that are gone, and those that come from elsewhere', async () => {
  const stop = new AbortController();
  const submitted: UnitBundle[] = [];
  const log = silentLog;
  const feeds = new UnitFeeds(
    {
      registry,
      units,
      reports: new SyncStatusRecorder(new MemoryStatusStore(), new SyncLog(log)),
      agent: AGENT,
      token: 'token',
      onBundle: (bundle) => void submitted.push(bundle),
      onFault: (error) => {
        throw error;
      },
    },
    stop.signal,
  );
  const sent = (): string[] => submitted.map((bundle) => `${bundle.unit} ${bundle.commitId}`);

  expect(feeds.configure([unit('gone'), unit('moved'), unit('kept')])).toEqual([]);
  await until(() => submitted.length === 3);
  const ended = feeds.configure([unit('moved', { ref: 'refs/heads/next' }), unit('kept', { prune: false }), unit('new')]);
  expect(ended).toEqual(['gone', 'moved']);
  await until(() => submitted.length === 5);
  expect(sent().slice(3)).toEqual(['moved refs/heads/next', 'new default']);
  const [before, after] = submitted.filter((bundle) => bundle.unit === 'moved');
  expect(after?.sourceId).not.toBe(before?.sourceId);
  stop.abort();
  await feeds.stopped();
});
