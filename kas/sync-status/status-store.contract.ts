import { AGENT, clusterEvent, drift, objectResult, problem, report, source } from './status-fixture.ts';
import type { StatusChange, StatusStore } from './status-store.ts';
import { HISTORY_LENGTH } from './status-store.ts';
import type { UnitStatus } from './unit-status.ts';

/** What every status store must do. `create` gives an empty one. */
export function describeStatusStore(name: string, create: () => Promise<StatusStore>): void {
  const signal = new AbortController().signal;
  let store: StatusStore;

  async function only(): Promise<UnitStatus> {
    const units = await store.get({}, signal);
    const [unit, ...others] = units;
    expect(others).toEqual([]);
    if (unit === undefined) throw new Error('There is no unit');
    return unit;
  }

  describe(name, () => {
    beforeEach(async () => {
      store = await create();
      await store.connected(AGENT, 1n);
      await store.setUnits(AGENT, [{ name: 'shop', project: 'team/app' }]);
    });

    it('shows a unit from its configuration to its sync', async () => {
      expect(await only()).toMatchObject({ phase: 'pending', reason: 'WaitingForSource', agentConnected: true });
      await store.setSource(AGENT, 'shop', source('c1'));
      expect(await only()).toMatchObject({ phase: 'progressing', reason: 'WaitingForAgent', desiredCommitId: 'c1' });
      await store.recordSync(
        AGENT,
        report('c1', { phase: 'progressing', reason: 'Applying', finishedAt: undefined, objects: undefined }),
      );
      expect(await only()).toMatchObject({ phase: 'progressing', reason: 'Applying', appliedCommitId: '' });
      await store.recordSync(AGENT, report('c1'));
      const status = await only();
      expect(status).toMatchObject({ phase: 'synced', appliedCommitId: 'c1', project: 'team/app', ref: 'refs/heads/main' });
      expect(status.objects.map(({ id }) => id.name)).toEqual(['web']);
    });

    it('keeps what is live apart from what is newest', async () => {
      await store.setSource(AGENT, 'shop', source('c1'));
      await store.recordSync(AGENT, report('c1'));
      await store.setSource(AGENT, 'shop', source('c2'));
      expect(await only()).toMatchObject({
        phase: 'progressing',
        reason: 'WaitingForAgent',
        desiredCommitId: 'c2',
        appliedCommitId: 'c1',
      });
      await store.disconnected(AGENT, 1n);
      expect(await only()).toMatchObject({ phase: 'pending', reason: 'AgentNotConnected', agentConnected: false });
    });

    it('takes a commit that changes nothing as live at once', async () => {
      await store.setSource(AGENT, 'shop', source('c1'));
      await store.recordSync(AGENT, report('c1'));
      await store.setSource(AGENT, 'shop', source('c2', { rendered: { commitId: 'c2', digest: 'digest-of-c1' } }));
      expect(await only()).toMatchObject({ phase: 'synced', desiredCommitId: 'c2', appliedCommitId: 'c2' });
    });

    it('shows an error of the source while the objects of the last good commit stay', async () => {
      await store.setSource(AGENT, 'shop', source('c1'));
      await store.recordSync(AGENT, report('c1'));
      const rendered = source('c1').rendered;
      await store.setSource(AGENT, 'shop', source('c2', { rendered, problems: [problem(), problem()] }));
      const status = await only();
      expect(status).toMatchObject({ phase: 'failed', reason: 'InvalidYaml', desiredCommitId: 'c2', appliedCommitId: 'c1' });
      expect(status.message).toBe('a.yaml:3: tabs are not allowed (and 1 more)');
      expect(status.objects).toHaveLength(1);
      await store.setSource(AGENT, 'shop', source('c3', { rendered: { commitId: 'c3', digest: 'digest-of-c1' } }));
      expect(await only()).toMatchObject({ phase: 'synced', problems: [] });
    });

    it('does not let a warning of the source hide the sync', async () => {
      await store.setSource(AGENT, 'shop', source('c1', { problems: [problem({ severity: 'warning' })] }));
      await store.recordSync(AGENT, report('c1', { phase: 'degraded', reason: 'Unhealthy' }));
      expect(await only()).toMatchObject({ phase: 'degraded', reason: 'Unhealthy', problems: [{ severity: 'warning' }] });
    });

    it('drops what a second agent pod says late about an older bundle', async () => {
      await store.setSource(AGENT, 'shop', source('c2'));
      await store.recordSync(AGENT, report('c2', { startedAt: new Date(9_000) }));
      await store.recordSync(AGENT, report('c1', { startedAt: new Date(4_000), phase: 'failed' }));
      expect(await only()).toMatchObject({ phase: 'synced', appliedCommitId: 'c2' });
    });

    it('merges changes of health into the objects of the sync', async () => {
      await store.setSource(AGENT, 'shop', source('c1'));
      await store.recordSync(AGENT, report('c1', { objects: [objectResult('web'), objectResult('api')] }));
      const unwell = objectResult('api', { health: 'failed', healthMessage: 'deadline exceeded' });
      await store.recordObjects(AGENT, {
        unit: 'shop',
        objects: [unwell],
        phase: 'degraded',
        reason: 'Unhealthy',
        message: 'one',
      });
      const status = await only();
      expect(status).toMatchObject({ phase: 'degraded', reason: 'Unhealthy', message: 'one' });
      expect(status.objects.map(({ health }) => health)).toEqual(['current', 'failed']);
    });

    it('keeps the newest drifts and events, each occurrence once', async () => {
      for (let at = 1; at <= HISTORY_LENGTH + 5; at += 1) await store.recordDrift(AGENT, drift(at * 1_000));
      await store.recordDrift(AGENT, drift((HISTORY_LENGTH + 5) * 1_000, { outcome: 'failed' }));
      await store.recordEvent(AGENT, clusterEvent({ count: 1 }));
      await store.recordEvent(AGENT, clusterEvent({ reason: 'Killing' }));
      await store.recordEvent(AGENT, clusterEvent({ count: 2 }));
      const { drifts, events } = await only();
      expect(drifts).toHaveLength(HISTORY_LENGTH);
      expect(drifts[0]).toMatchObject({ outcome: 'failed', detectedAt: new Date((HISTORY_LENGTH + 5) * 1_000) });
      expect(events.map(({ reason, count }) => [reason, count])).toEqual([
        ['BackOff', 2],
        ['Killing', 1],
      ]);
    });

    it('removes a unit that left the configuration, and drops what is said of it later', async () => {
      await store.setUnits(AGENT, [{ name: 'other', project: 'team/app' }]);
      await store.recordSync(AGENT, report('c1'));
      expect((await store.get({}, signal)).map(({ unit }) => unit)).toEqual(['other']);
    });

    it('keeps what an agent reports before its configuration was read', async () => {
      const early = { id: 8, name: 'eight' };
      await store.recordSync(early, report('c1'));
      await store.recordSync(early, report('c1', { unit: 'gone' }));
      await store.setUnits(early, [{ name: 'shop', project: 'team/app' }]);
      await store.setSource(early, 'shop', source('c1'));
      const units = await store.get({ agentId: 8 }, signal);
      expect(units).toMatchObject([{ unit: 'shop', phase: 'synced', appliedCommitId: 'c1' }]);
    });

    it('lists a broken configuration as the unit without a name, until it is mended', async () => {
      const broken = source('k2', { problems: [problem({ reason: 'UnknownKey' })], rendered: { commitId: 'k1', digest: 'k1' } });
      await store.setConfigurationState(AGENT, broken);
      expect(await store.get({ unit: '' }, signal)).toMatchObject([
        { phase: 'failed', reason: 'UnknownKey', desiredCommitId: 'k2', appliedCommitId: 'k1' },
      ]);
      await store.setConfigurationState(AGENT, undefined);
      expect(await store.get({ unit: '' }, signal)).toEqual([]);
    });

    it('counts an agent as connected as long as one of its sessions is', async () => {
      await store.connected(AGENT, 2n);
      await store.disconnected(AGENT, 1n);
      expect(await only()).toMatchObject({ agentConnected: true });
      await store.disconnected(AGENT, 2n);
      expect(await only()).toMatchObject({ agentConnected: false });
    });

    it('selects by agent and unit, and knows which agents it saw', async () => {
      await store.setUnits({ id: 9, name: 'nine' }, [
        { name: 'shop', project: 'p' },
        { name: 'a', project: 'p' },
      ]);
      expect((await store.get({}, signal)).map(({ agentId, unit }) => `${agentId}/${unit}`)).toEqual(['7/shop', '9/a', '9/shop']);
      expect(await store.get({ agentName: 'nine', unit: 'a' }, signal)).toHaveLength(1);
      expect(await store.get({ agentId: 7 }, signal)).toHaveLength(1);
      expect(await store.knows({ name: 'nine' }, signal)).toBe(true);
      expect(await store.knows({ id: 10 }, signal)).toBe(false);
    });

    it('tells watchers the present state, then each change, to the slow ones only the newest', async () => {
      const controller = new AbortController();
      const changes = store.watch({ agentName: 'seven' }, controller.signal)[Symbol.asyncIterator]();
      const next = async (): Promise<StatusChange> => (await changes.next()).value as StatusChange;
      expect(await next()).toMatchObject({ type: 'unit', status: { unit: 'shop', phase: 'pending' } });
      expect(await next()).toEqual({ type: 'ready' });
      const waiting = next();
      await store.setSource(AGENT, 'shop', source('c1'));
      expect(await waiting).toMatchObject({ type: 'unit', status: { desiredCommitId: 'c1' } });
      for (const commit of ['c2', 'c3', 'c4']) await store.setSource(AGENT, 'shop', source(commit));
      await store.setUnits({ id: 9, name: 'nine' }, [{ name: 'not-asked-for', project: 'p' }]);
      expect(await next()).toMatchObject({ type: 'unit', status: { desiredCommitId: 'c4' } });
      await store.setUnits(AGENT, []);
      expect(await next()).toEqual({ type: 'removed', agentId: 7, unit: 'shop' });
      const cut = next();
      controller.abort(new Error('enough'));
      await expect(cut).rejects.toThrow('enough');
    });
  });
}
