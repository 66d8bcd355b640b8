import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { useCluster } from '../../test/harness/cluster.ts';
import { createTempDir } from '../../test/harness/temp-dir.ts';
import type { Cluster, ObjectRef } from './cluster.ts';
import { serviceAccount } from './impersonation.ts';
import type { KubeCluster } from './kube-cluster.ts';
import { configMapBody, OPTIONS, openCluster, typeOf, WatchRecorder } from './testing/open-cluster.ts';

describe('Cluster.as', () => {
  const shared = useCluster();
  const signal = new AbortController().signal;
  let cluster: KubeCluster;
  let team: string;
  let foreign: string;
  let asTeam: Cluster;
  const configMap = (namespace: string, name: string): ObjectRef => ({ type: typeOf(cluster, 'ConfigMap'), namespace, name });

  beforeAll(async () => {
    ({ cluster } = await openCluster(shared.kubeconfigPath, { watchTimings: { goneAfterMs: 50 } }));
    [team, foreign] = [await shared.namespace(), await shared.namespace()];
    asTeam = cluster.as(serviceAccount({ namespace: team, name: 'deployer' }));
    const role = ['--verb=get,list,watch,create,patch,delete', '--resource=configmaps'];
    await shared.kubectl(['-n', team, 'create', 'role', 'deployer', ...role]);
    // The group shows that the server itself adds what a service account belongs to.
    const subject = `--group=system:serviceaccounts:${team}`;
    await shared.kubectl(['-n', team, 'create', 'rolebinding', 'deployer', '--role=deployer', subject]);
  });

  afterAll(async () => await cluster[Symbol.asyncDispose]());

  it('does what the service account may do, and nothing else', async () => {
    const own = configMap(team, 'own');
    const { object, created } = await asTeam.apply(own, configMapBody(own, { a: '1' }), OPTIONS, signal);
    expect(created).toBe(true);
    const patched = await asTeam.jsonPatch(own, [{ op: 'replace', path: '/data/a', value: '2' }], 'agentk-test', signal);
    expect(patched['data']).toEqual({ a: '2' });
    expect((await asTeam.get(own, signal)).metadata.uid).toBe(object.metadata.uid);
    expect(await asTeam.list(own.type, { namespace: team }, signal)).not.toEqual([]);

    const theirs = configMap(foreign, 'theirs');
    const refused = { code: 403, message: expect.stringContaining(`system:serviceaccount:${team}:deployer`) };
    await expect(asTeam.apply(theirs, configMapBody(theirs, {}), OPTIONS, signal)).rejects.toMatchObject(refused);
    await expect(asTeam.list(theirs.type, { namespace: foreign }, signal)).rejects.toMatchObject(refused);
    await expect(asTeam.get(theirs, signal)).rejects.toMatchObject(refused);
    const { uid, resourceVersion } = (await cluster.get(configMap(foreign, 'kube-root-ca.crt'), signal)).metadata;
    const deletion = { uid, resourceVersion, propagationPolicy: 'Background' } as const;
    await expect(asTeam.delete(configMap(foreign, 'kube-root-ca.crt'), deletion, signal)).rejects.toMatchObject(refused);

    const { metadata } = patched;
    await asTeam.delete(own, { ...deletion, uid: metadata.uid, resourceVersion: metadata.resourceVersion }, signal);
    await expect(asTeam.get(own, signal)).rejects.toMatchObject({ code: 404 });
  });

  it('watches with the rights of the service account', async () => {
    await using watch = new WatchRecorder((stop) => asTeam.watch(typeOf(cluster, 'ConfigMap'), {}, stop));
    await watch.waitForEnd();
    expect(watch.ended).toMatchObject({ code: 403 });
  });

  it('takes groups that are named, and leaves the others alone', async () => {
    const admin = cluster.as({ user: 'jo', groups: ['system:masters', 'system:authenticated'] });
    expect(await admin.list(typeOf(cluster, 'ConfigMap'), { namespace: foreign }, signal)).not.toEqual([]);
    const nobody = cluster.as({ user: 'jo' });
    await expect(nobody.list(typeOf(cluster, 'ConfigMap'), { namespace: foreign }, signal)).rejects.toMatchObject({ code: 403 });
  });

  it('takes the place of an impersonation that the kubeconfig asks for', async () => {
    await using directory = await createTempDir();
    const file = join(directory.path, 'kubeconfig');
    const text = await readFile(shared.kubeconfigPath, 'utf8');
    await writeFile(file, text.replace('user: {token:', 'user: {as: stranger, token:'), { mode: 0o600 });
    await using stranger = (await openCluster(file)).cluster;
    const type = typeOf(cluster, 'ConfigMap');
    await expect(stranger.list(type, { namespace: team }, signal)).rejects.toMatchObject({ code: 403 });
    const view = stranger.as(serviceAccount({ namespace: team, name: 'deployer' }));
    expect(await view.list(type, { namespace: team }, signal)).not.toEqual([]);
  });

  it('has our own rights again for nobody in particular, and knows the same kinds', async () => {
    const own = asTeam.as(undefined);
    expect(await own.list(typeOf(cluster, 'ConfigMap'), { namespace: foreign }, signal)).not.toEqual([]);
    expect(asTeam.resourceType('', 'ConfigMap')).toBe(cluster.resourceType('', 'ConfigMap'));
  });
});
