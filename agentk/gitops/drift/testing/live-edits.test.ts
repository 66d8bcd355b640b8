import { useCluster } from '../../../../test/harness/cluster.ts';
import { waitUntil } from '../../../../test/harness/wait-until.ts';
import { describeFields } from '../field-drift.ts';
import { judge } from '../judge.ts';
import { ownedState } from '../owned-state.ts';
import { agentManager } from './edit.ts';
import { liveEdits } from './live-edits.ts';
import { RawApi } from './raw-api.ts';
import { manifestOf, pathOf, subjectIn, subjects, widgetDefinition } from './subjects.ts';

describe('judge, on a real API server', () => {
  const cluster = useCluster();
  const group = 'drift.example';
  let api: RawApi;
  let namespace: string;

  beforeAll(async () => {
    api = new RawApi(cluster.kubeconfigPath);
    namespace = await cluster.namespace();
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(widgetDefinition(group)) });
    const widgets = `/apis/${group}/v1/namespaces/${namespace}/widgets`;
    await waitUntil(async () => await api.get(widgets), { what: 'Widgets to be served', intervalMs: 10 });
  });

  afterAll(async () => {
    api[Symbol.dispose]();
    await cluster.kubectl(['delete', 'crd', widgetDefinition(group).metadata.name, '--ignore-not-found']);
  });

  const rows = liveEdits.map((edit, index) => ({ ...edit, name: `edit-${index}` }));

  it.each(rows)('finds $verdict for a $subject: $title', async (row) => {
    const { edit, verdict, paths, by, name } = row;
    const subject = subjectIn(subjects[row.subject], group);
    const manifest = manifestOf(subject, namespace, name);
    const path = pathOf(subject, namespace, name);
    const applied = await api.patch(path, agentManager, 'apply', manifest);
    const before = ownedState(applied, agentManager)!;

    await edit({ api, path, manifest, applied });
    const live = await api.get(path);
    const found = judge(before, live, agentManager);

    const drift = found.kind === 'drifted' ? found : undefined;
    expect({
      verdict: found.kind,
      paths: describeFields(drift?.paths ?? [], manifest, live).map((field) => field.path),
      by: drift === undefined ? undefined : (drift.change?.manager ?? 'nobody'),
    }).toEqual({ verdict, paths, by: verdict === 'drifted' ? (by ?? 'kubectl-edit') : undefined });
  });

  it('judges what kubectl applies and people edit with kubectl', async () => {
    const manifest = manifestOf(subjects.deployment, namespace, 'by-kubectl');
    const path = pathOf(subjects.deployment, namespace, 'by-kubectl');
    const apply = ['apply', '--server-side', `--field-manager=${agentManager}`, '--force-conflicts', '-f', '-'];
    await cluster.kubectl(apply, { stdin: JSON.stringify(manifest) });
    const before = ownedState(await api.get(path), agentManager)!;
    expect(judge(before, await api.get(path), agentManager).kind).toBe('none');

    await cluster.kubectl(['-n', namespace, 'set', 'image', 'deployment/by-kubectl', 'app=nginx:1.28']);
    await cluster.kubectl(['-n', namespace, 'scale', 'deployment/by-kubectl', '--replicas=1']);
    const live = await api.get(path);
    const found = judge(before, live, agentManager);

    expect(found).toMatchObject({ kind: 'drifted', released: false, appliedByOther: false });
    const fields = describeFields(found.kind === 'drifted' ? found.paths : [], manifest, live);
    expect(fields).toEqual([
      { path: '.spec.replicas', desired: '0', live: '1' },
      { path: '.spec.template.spec.containers[name="app"].image', desired: '"nginx:1.27"', live: '"nginx:1.28"' },
    ]);
  });
});
