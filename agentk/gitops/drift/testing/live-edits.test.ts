import { useCluster } from '../../../../test/harness/cluster.ts';
import { waitUntil } from '../../../../test/harness/wait-until.ts';
import type { LiveObject } from '../../../kube/cluster.ts';
import { describeFields } from '../field-drift.ts';
import { judge } from '../judge.ts';
import { ownedState } from '../owned-state.ts';
import { agentManager } from './edit.ts';
import { liveEdits } from './live-edits.ts';
import type { RawApi } from './raw-api.ts';
import { manifestOf, pathOf, subjectIn, subjects, widgetDefinition } from './subjects.ts';
import { useWidgets } from './widgets.ts';

describe('judge, on a real API server', () => {
  const cluster = useCluster();
  const group = 'drift.example';
  let api: RawApi;
  let namespace: string;

  useWidgets(cluster, group, (fresh) => ({ api, namespace } = fresh));

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

  it('finds what admission rewrites while somebody else writes', async () => {
    const manifest = manifestOf(subjects.configMap, namespace, 'admitted');
    const path = pathOf(subjects.configMap, namespace, 'admitted');
    const before = ownedState(await api.patch(path, agentManager, 'apply', manifest), agentManager)!;
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(rewriting(namespace)) });

    const touch = async (): Promise<LiveObject | false> => {
      const live = await api.patch(path, 'somebody', 'merge', { metadata: { annotations: { touched: String(Date.now()) } } });
      return (live['data'] as Readonly<Record<string, string>>)['a'] === 'rewritten' && live;
    };
    const live = await waitUntil(touch, { what: 'the policy to take effect', timeoutMs: 20_000 });
    const found = judge(before, live, agentManager);
    await cluster.kubectl(['delete', '-f', '-'], { stdin: JSON.stringify(rewriting(namespace)) });

    expect(live.metadata.managedFields?.find((entry) => entry.manager === agentManager)?.fieldsV1).toEqual(
      JSON.parse(before.entry.json),
    );
    expect(found).toMatchObject({ kind: 'drifted', paths: [{ keys: ['f:data', 'f:a'] }], appliedByOther: false });
  });

  it('finds what a changed schema drops, though the object was not written', async () => {
    const dropping = 'dropping.example';
    const subject = subjectIn(subjects.widget, dropping);
    const definition = widgetDefinition(dropping);
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(definition) });
    const path = pathOf(subject, namespace, 'dropped');
    const apply = async (): Promise<LiveObject> =>
      await api.patch(path, agentManager, 'apply', manifestOf(subject, namespace, 'dropped'));
    const applied = await waitUntil(apply, { what: 'Widgets to be served', intervalMs: 10 });
    const before = ownedState(applied, agentManager)!;

    const schema = '/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/size';
    const patch = JSON.stringify([{ op: 'remove', path: schema }]);
    await cluster.kubectl(['patch', 'crd', definition.metadata.name, '--type=json', '-p', patch]);
    const drifted = async () => {
      const live = await api.get(path);
      const verdict = judge(before, live, agentManager);
      return verdict.kind === 'drifted' && { live, verdict };
    };
    const { live, verdict } = await waitUntil(drifted, { what: 'the value to vanish', timeoutMs: 20_000 });
    await cluster.kubectl(['delete', 'crd', definition.metadata.name]);

    expect(live.metadata.resourceVersion).toBe(before.resourceVersion);
    expect(verdict.paths).toEqual([{ keys: ['f:spec', 'f:size'], order: false }]);
  });
});

/** A policy that writes `rewritten` over `data.a` of every ConfigMap called `admitted` that is updated. */
function rewriting(namespace: string): object {
  const name = `rewriting-${namespace}`;
  const apiVersion = 'admissionregistration.k8s.io/v1';
  const rule = { apiGroups: [''], apiVersions: ['v1'], operations: ['UPDATE'], resources: ['configmaps'] };
  const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': namespace } };
  const policy = {
    apiVersion,
    kind: 'MutatingAdmissionPolicy',
    metadata: { name },
    spec: {
      matchConstraints: { namespaceSelector, resourceRules: [rule] },
      matchConditions: [{ name: 'by-name', expression: "object.metadata.name == 'admitted'" }],
      failurePolicy: 'Fail',
      reinvocationPolicy: 'IfNeeded',
      mutations: [{ patchType: 'ApplyConfiguration', applyConfiguration: { expression: 'Object{data: {"a": "rewritten"}}' } }],
    },
  };
  const binding = { apiVersion, kind: 'MutatingAdmissionPolicyBinding', metadata: { name }, spec: { policyName: name } };
  return { apiVersion: 'v1', kind: 'List', items: [policy, binding] };
}
