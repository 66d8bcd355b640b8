import type { ApiReader } from '../../test/harness/api-reader.ts';
import { useCluster } from '../../test/harness/cluster.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { actions, configMap, type Manifest, type TestEngine, unit, useEngine } from './engine-fixture.ts';

/** Before anything is tried again by itself. */
const AT_ONCE_MS = 18_000;

const cluster = useCluster();
let namespace: string;
let api: ApiReader;
let engine: TestEngine;

useEngine(cluster, (fresh) => ({ namespace, api, engine } = fresh));

const path = (name: string): string => `/api/v1/namespaces/${namespace}/configmaps/${name}`;
const exists = (found: unknown): boolean => found !== undefined;

describe('A refused object is tried again at once', () => {
  it('when its service account is given the right', async () => {
    engine.configure(unit('one', { defaultNamespace: namespace, serviceAccount: { namespace, name: 'deployer' } }));
    const state = await engine.apply('one', [configMap(namespace, 'a')], 'failed');
    expect(actions(state)).toEqual(['ConfigMap a failed Forbidden']);
    await cluster.kubectl(['-n', namespace, 'create', 'role', 'team', '--verb=get,list,create,patch', '--resource=configmaps']);
    const account = `--serviceaccount=${namespace}:deployer`;
    await cluster.kubectl(['-n', namespace, 'create', 'rolebinding', 'team', '--role=team', account]);
    await api.until(path('a'), exists, 'the object', AT_ONCE_MS);
  });

  it('when its quota is raised', async () => {
    engine.configure(unit('one', { defaultNamespace: namespace }));
    // The agent's own records are ConfigMaps.
    await cluster.kubectl(['-n', namespace, 'create', 'quota', 'q', '--hard=count/secrets=0']);
    const quota = `/api/v1/namespaces/${namespace}/resourcequotas/q`;
    await api.until(quota, (found) => JSON.stringify(found?.['status']).includes('used'), 'the quota to count');
    const secret: Manifest = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'a', namespace } };
    const state = await engine.apply('one', [secret], 'failed');
    expect(actions(state)).toEqual(['Secret a failed QuotaExceeded']);
    const raised = '{"spec":{"hard":{"count/secrets":"20"}}}';
    await cluster.kubectl(['-n', namespace, 'patch', 'quota', 'q', '--type=merge', '-p', raised]);
    await api.until(`/api/v1/namespaces/${namespace}/secrets/a`, exists, 'the object', AT_ONCE_MS);
  });

  it('when the policy that denied it is taken away', async () => {
    engine.configure(unit('one', { defaultNamespace: namespace }));
    const name = `deny-${namespace}`;
    const group = 'admissionregistration.k8s.io/v1';
    const rules = [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['configmaps'] }];
    const spec = { matchConstraints: { resourceRules: rules }, validations: [{ expression: "object.metadata.name != 'a'" }] };
    const policy = { apiVersion: group, kind: 'ValidatingAdmissionPolicy', metadata: { name }, spec };
    const selector = { matchLabels: { 'kubernetes.io/metadata.name': namespace } };
    const bound = { policyName: name, validationActions: ['Deny'], matchResources: { namespaceSelector: selector } };
    const binding = { apiVersion: group, kind: 'ValidatingAdmissionPolicyBinding', metadata: { name }, spec: bound };
    await cluster.kubectl(['create', '-f', '-'], { stdin: `${JSON.stringify(policy)}\n---\n${JSON.stringify(binding)}` });
    try {
      await waitUntil(denied, { what: 'the policy to be obeyed' });
      const state = await engine.apply('one', [configMap(namespace, 'a')], 'failed');
      expect(actions(state)).toEqual(['ConfigMap a failed Denied']);
    } finally {
      await cluster.kubectl(['delete', 'validatingadmissionpolicybinding,validatingadmissionpolicy', name]);
    }
    await api.until(path('a'), exists, 'the object', AT_ONCE_MS);
  });
});

/** A policy is obeyed a moment after it was written. */
async function denied(): Promise<boolean> {
  const dry = ['-n', namespace, 'create', 'configmap', 'a', '--dry-run=server'];
  return await cluster.kubectl(dry).then(
    () => false,
    () => true,
  );
}
