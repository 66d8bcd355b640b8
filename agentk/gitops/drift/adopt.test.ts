import { useCluster } from '../../../test/harness/cluster.ts';
import { waitUntil } from '../../../test/harness/wait-until.ts';
import type { LiveObject } from '../../kube/cluster.ts';
import { adoptionPatch } from './adopt.ts';
import { judge } from './judge.ts';
import { type OwnedState, ownedState } from './owned-state.ts';
import { agentManager } from './testing/edit.ts';
import { type Intruder, intruders } from './testing/intruders.ts';
import type { RawApi } from './testing/raw-api.ts';
import { manifestOf, pathOf, subjectIn } from './testing/subjects.ts';
import { useWidgets } from './testing/widgets.ts';

/** Reads again as often as a controller gets in between. */
async function adopt(api: RawApi, path: string, before: OwnedState, structs: boolean): Promise<void> {
  const done = async (): Promise<boolean> => {
    const operations = adoptionPatch(before, await api.get(path), agentManager, { structs });
    if (operations !== undefined) await api.patch(path, 'agentk-adoption', 'json', operations);
    return true;
  };
  await waitUntil(done, { what: 'the adoption to be accepted', intervalMs: 5 });
}

describe('adoptionPatch, on a real API server', () => {
  const cluster = useCluster();
  const group = 'adopt.example';
  let api: RawApi;
  let namespace: string;

  useWidgets(cluster, group, (fresh) => ({ api, namespace } = fresh));

  /** Applies, lets the other manager add its part, and takes that in as harmless. */
  async function given(row: Intruder, name: string) {
    const subject = subjectIn(row.subject, group);
    const manifest = manifestOf(subject, namespace, name);
    const path = pathOf(subject, namespace, name);
    const applied = await api.patch(path, agentManager, 'apply', manifest);
    await row.foreign({ api, path, manifest, applied });
    const wanted = await api.get(path);
    const verdict = judge(ownedState(applied, agentManager)!, wanted, agentManager);
    expect(verdict.kind).toBe('none');
    const before = (verdict as { readonly state: OwnedState }).state;
    await row.edit({ api, path, manifest, applied });
    return { manifest, path, before, wanted };
  }

  const rows = intruders.map((intruder, index) => ({ ...intruder, name: `intruder-${index}` }));

  it.each(rows)('lets a forced apply remove $title', async (row) => {
    const { manifest, path, before, wanted } = await given(row, row.name);
    expect(judge(before, await api.get(path), agentManager).kind).toBe('drifted');
    expect((await api.tryApply(path, agentManager, manifest, { dryRun: true })).status).toBe(row.plainApply);

    await adopt(api, path, before, false);
    const first = await api.tryApply(path, agentManager, manifest);
    if (first.status !== 200) await adopt(api, path, before, true);
    const last = first.status === 200 ? first : await api.tryApply(path, agentManager, manifest);

    expect(last.status).toBe(200);
    expect(specOf(last.body)).toEqual(specOf(wanted));
    expect(ownedState(last.body, agentManager)!.entry).toBe(before.entry);
    expect(judge(before, last.body, agentManager)).not.toMatchObject({ kind: 'drifted' });
    expect(adoptionPatch(before, last.body, agentManager, { structs: true })).toBeUndefined();
  });

  it('is refused when the object has changed since it was read', async () => {
    const { path, before } = await given(intruders[5]!, 'raced');
    const live = await api.get(path);
    await api.patch(path, 'somebody', 'merge', { metadata: { labels: { raced: 'yes' } } });
    const operations = adoptionPatch(before, live, agentManager, { structs: false });
    await expect(api.patch(path, 'agentk-adoption', 'json', operations)).rejects.toThrow('answered 409');
  });
});

function specOf(object: LiveObject): unknown {
  return object['spec'];
}
