import { useCluster } from '../../../../test/harness/cluster.ts';
import { waitUntil } from '../../../../test/harness/wait-until.ts';
import type { LiveObject } from '../../../kube/cluster.ts';
import { type Manifest, TestEngine, unit } from '../../engine-fixture.ts';
import { judge } from '../judge.ts';
import { type OwnedState, ownedState } from '../owned-state.ts';
import { agentManager, type Edit } from './edit.ts';
import { intruders } from './intruders.ts';
import { liveEdits } from './live-edits.ts';
import { RawApi } from './raw-api.ts';
import { manifestOf, pathOf, type Subject, subjectIn, subjects, widgetDefinition } from './subjects.ts';

interface Case {
  readonly title: string;
  readonly name: string;
  readonly subject: Subject;
  /** What another program had added before, which must stay. */
  readonly foreign: Edit | undefined;
  readonly edit: Edit;
}

const group = 'corrected.example';
/** By whose name the edits write when they write as the agent. */
const agentId = Number(agentManager.slice(agentManager.indexOf('-') + 1));

const cases: readonly Case[] = [
  ...liveEdits
    // An edit in two requests is corrected between them.
    .filter(({ verdict, title }) => verdict === 'drifted' && !title.includes('forged'))
    .map(({ title, subject, edit }) => ({ title: `${subject}: ${title}`, subject: subjects[subject], edit, foreign: undefined })),
  ...intruders.map(({ title, subject, foreign, edit }) => ({ title: `${title}, beside another's`, subject, foreign, edit })),
].map((row, index) => ({ ...row, subject: subjectIn(row.subject, group), name: `edit-${index}` }));

describe('An engine that corrects', () => {
  const cluster = useCluster();
  let api: RawApi;
  let engine: TestEngine;
  let namespace: string;

  const manifest = ({ subject, name }: Case) => manifestOf(subject, namespace, name) as unknown as Manifest;
  const path = ({ subject, name }: Case): string => pathOf(subject, namespace, name);
  const isDrifted = (before: OwnedState, live: LiveObject): boolean => judge(before, live, agentManager).kind === 'drifted';

  beforeAll(async () => {
    api = new RawApi(cluster.kubeconfigPath);
    namespace = await cluster.namespace();
    engine = new TestEngine({ kubeconfig: cluster.kubeconfigPath, agentId, namespace });
    engine.configure(unit('one', { defaultNamespace: namespace }));
    await engine.apply('one', [widgetDefinition(group), ...cases.map(manifest)]);
  });

  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
    api[Symbol.dispose]();
    await cluster.kubectl(['delete', 'crd', widgetDefinition(group).metadata.name, '--ignore-not-found']);
  });

  it.each(cases)('restores $title', async (row) => {
    const at = path(row);
    const applied = await api.get(at);
    const before = ownedState(applied, agentManager) as OwnedState;
    await row.foreign?.({ api, path: at, manifest: manifest(row) as unknown as Record<string, unknown>, applied });
    const wanted = await api.get(at);
    await row.edit({ api, path: at, manifest: manifest(row) as unknown as Record<string, unknown>, applied });

    const restored = async (): Promise<LiveObject | undefined> => {
      const live = await api.get(at);
      const told = engine.recorder.drifts.some(({ id, outcome }) => id.name === row.name && outcome === 'corrected');
      return told && !isDrifted(before, live) ? live : undefined;
    };
    const live = await waitUntil(restored, { what: 'the edit to be undone', timeoutMs: 20_000, intervalMs: 10 });

    expect(live.metadata.uid).toBe(applied.metadata.uid);
    expect(live.metadata.labels).toMatchObject(applied.metadata.labels ?? {});
    // Nothing of the edit is left, and all of what others had added.
    expect({ spec: live['spec'], data: live['data'] }).toEqual({ spec: wanted['spec'], data: wanted['data'] });
  });
});
