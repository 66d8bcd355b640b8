import { jest } from '@jest/globals';
import { Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { useCluster } from '../harness/cluster.ts';
import { freePort } from '../harness/free-port.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { AgentRelease } from './agent-release.ts';
import { Installation } from './installation.ts';

jest.setTimeout(300_000);

const AGENT = 'upgraded';
const INSTANCE = 'app.kubernetes.io/managed-by=Helm';

interface Listed {
  readonly items: readonly { readonly kind: string; readonly metadata: { readonly name: string } }[];
}

describe('An installation', () => {
  const cluster = useCluster();
  let installation: Installation;
  let release: AgentRelease;

  // The first start on a machine builds helm.
  beforeAll(async () => {
    installation = await Installation.open({ cluster, agents: [AGENT] });
    release = await AgentRelease.install(installation, AGENT, await freePort(), {});
  }, 30 * 60_000);

  afterAll(async () => {
    await release[Symbol.asyncDispose]();
    await installation[Symbol.asyncDispose]();
  });

  const configMap = (value: string): string =>
    `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings }\ndata: { value: "${value}" }\n`;

  async function synced(commit: string): Promise<void> {
    const isSynced = (unit: { phase: Phase; desiredCommitId: string }): boolean =>
      unit.phase === Phase.PHASE_SYNCED && unit.desiredCommitId === commit;
    await installation.status(AGENT, isSynced, `${commit} to be synced`);
  }

  /** A field of an object of a release. */
  async function field(namespace: string, object: string, path: string): Promise<string> {
    return await cluster.kubectl(['-n', namespace, 'get', object, '-o', `jsonpath={${path}}`]);
  }

  /** Everything that is in a namespace, of whatever kind, without what is unique about names. */
  async function everythingIn(namespace: string, ...selector: readonly string[]): Promise<string[]> {
    const resources = await cluster.kubectl(['api-resources', '--namespaced', '--verbs=list', '-o', 'name']);
    const kinds = resources
      .trim()
      .split('\n')
      .filter((kind) => !kind.startsWith('events'))
      .join();
    const list = JSON.parse(await cluster.kubectl(['-n', namespace, 'get', kinds, '-o', 'json', ...selector])) as Listed;
    const lines = list.items.map(({ kind, metadata }) => `${kind} ${metadata.name.replace(/^agentk-\d+-\S+/, 'agentk-ID')}`);
    return [...new Set(lines)].toSorted();
  }

  /** What is there once it is as expected, or will not be. Pods and what is made for Services go a moment after their owners. */
  async function left(
    namespace: string,
    expected: readonly string[],
    ...selector: readonly string[]
  ): Promise<readonly string[]> {
    let found: readonly string[] = [];
    const isAsExpected = async (): Promise<boolean> => {
      found = await everythingIn(namespace, ...selector);
      return found.join() === expected.join();
    };
    await waitUntil(isAsExpected, { what: `the rest of ${namespace} to go`, intervalMs: 500 }).catch(() => undefined);
    return found;
  }

  it('is upgraded with its secrets, tokens and repositories, rolled back, and leaves nothing when it is uninstalled', async () => {
    const shop = await cluster.namespace();
    await release.start();
    const repository = await installation.repository(AGENT, shop);
    await synced(await repository.addUnit('shop', { 'settings.yaml': configMap('one') }));

    // kas: another configuration, and the pod's command started anew from what the upgrade made.
    const { namespace } = installation;
    const secret = await field(namespace, 'secret/kas-api', '.data.secret');
    const before = await field(namespace, 'configmap/kas', '.data.kas\\.yaml');
    const values = installation.kasValues();
    const { agent } = values['config'] as { agent: object };
    const config = { ...(values['config'] as object), agent: { ...agent, gitops: { poll_period: '45s' } } };
    await installation.release(['upgrade', 'kas', 'kas', '--namespace', namespace], { ...values, config });
    expect(await field(namespace, 'secret/kas-api', '.data.secret')).toBe(secret);
    expect(await field(namespace, 'configmap/kas', '.data.kas\\.yaml')).toContain('poll_period: 45s');
    await installation.startKas();
    await synced(await repository.push({ 'shop/settings.yaml': configMap('two') }));

    await installation.helm.run('rollback', 'kas', '1', '--namespace', namespace, '--wait', '--timeout', '120s');
    expect(await field(namespace, 'configmap/kas', '.data.kas\\.yaml')).toBe(before);
    expect(await field(namespace, 'secret/kas-api', '.data.secret')).toBe(secret);
    await installation.startKas();
    await synced(await repository.push({ 'shop/settings.yaml': configMap('three') }));

    // agentk: fewer rights, more replicas, and back.
    const own = release.namespace;
    const others = { rbac: { mode: 'namespaced', namespaces: [shop] }, replicas: 3 };
    const token = Buffer.from(await field(own, 'secret/agentk-token', '.data.token'), 'base64').toString();
    await installation.release(['upgrade', 'agentk', 'agentk', '--namespace', own], release.values(token, others));
    await release.stop();
    const roles = await cluster.kubectl(['get', 'clusterrole,clusterrolebinding', '-l', INSTANCE, '-o', 'name']);
    expect(roles).not.toContain(own);
    await release.start(3);
    await synced(await repository.push({ 'shop/settings.yaml': configMap('four') }));
    await installation.helm.run('rollback', 'agentk', '1', '--namespace', own, '--wait', '--timeout', '120s');
    expect(await field(own, 'deployment/agentk', '.spec.replicas')).toBe('2');
    await release.stop();
    await release.start();
    await synced(await repository.push({ 'shop/settings.yaml': configMap('five') }));
    await release.stop();

    for (const [name, place] of [
      ['agentk', own],
      ['kas', namespace],
    ] as const)
      await installation.helm.run('uninstall', name, '--namespace', place, '--wait', '--timeout', '120s');
    const always = ['ConfigMap kube-root-ca.crt', 'ServiceAccount default'];
    expect(await left(namespace, always)).toEqual(always);
    // What agentk knows of its units stays, so that it goes on after it was installed again; docs/install.md says how to remove it.
    const known = ['ConfigMap agentk-ID', 'ConfigMap kube-root-ca.crt', 'Lease agentk', 'ServiceAccount default'];
    expect(await left(own, known)).toEqual(known);
    expect(await cluster.kubectl(['get', 'clusterrole,clusterrolebinding', '-l', INSTANCE, '-o', 'name'])).not.toContain(own);
  });

  it('keeps the claim of its repositories when it is uninstalled, unless told otherwise', async () => {
    const namespace = await cluster.namespace();
    const args = ['--namespace', namespace, '--set', 'gitserver.enabled=true'];
    await installation.helm.run('install', 'kas', 'kas', ...args);
    await installation.helm.run('uninstall', 'kas', '--namespace', namespace, '--wait', '--timeout', '120s');
    const kept = ['PersistentVolumeClaim kas-gitserver'];
    expect(await left(namespace, kept, '-l', INSTANCE)).toEqual(kept);
  });
});
