import { jest } from '@jest/globals';
import { Action, Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import type { Repository } from '../e2e/repository.ts';
import { useCluster } from '../harness/cluster.ts';
import { freePort } from '../harness/free-port.ts';
import { AgentRelease } from './agent-release.ts';
import { Installation, type Values } from './installation.ts';
import { type Rule, rightOf, rightsOf } from './rights.ts';

jest.setTimeout(300_000);

const AGENTS = ['workloads', 'namespaced', 'impersonation', 'cluster-admin'];

const settings = (value: string): string => `apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { value: "${value}" }
`;
const web = (image: string): string => `apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: "example.com/web:${image}" }] }
---
apiVersion: v1
kind: Secret
metadata: { name: password }
stringData: { password: secret }
`;
const ROLE = `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: extra }
rules: [{ apiGroups: [""], resources: [configmaps], verbs: [get] }]
`;

describe('agentk with the rights of its chart', () => {
  const cluster = useCluster();
  let installation: Installation;
  const releases: AgentRelease[] = [];
  /** They go on at the same time, since an agent with few rights waits a while before it believes a refusal. */
  const stories: Record<string, Promise<void>> = {};

  // The first start on a machine builds helm.
  beforeAll(async () => {
    installation = await Installation.open({ cluster, agents: AGENTS });
    Object.assign(stories, {
      workloads: workloads(),
      namespaced: namespaced(),
      impersonation: impersonation(),
      'cluster-admin': clusterAdmin(),
    });
    for (const story of Object.values(stories)) story.catch(() => undefined);
  }, 30 * 60_000);

  afterAll(async () => {
    await Promise.allSettled(Object.values(stories));
    for (const release of releases) await release[Symbol.asyncDispose]();
    await installation[Symbol.asyncDispose]();
  }, 120_000);

  const inPhase =
    (phase: Phase, commit: string) =>
    (unit: UnitStatus): boolean =>
      unit.phase === phase && unit.desiredCommitId === commit;

  /** A short demo: applies, changes, prunes and corrects. */
  async function tellStory(agent: string, shop: string, unit: Values): Promise<Repository> {
    const { reader } = installation;
    const repository = await installation.repository(agent, shop);
    const first = await repository.addUnit('shop', { 'a.yaml': settings('one'), 'b.yaml': web('1') }, unit);
    await installation.status(agent, inPhase(Phase.PHASE_SYNCED, first), `${agent} to have synced`);
    expect(await reader.get(pathOf(shop, 'deployments', 'web'))).toMatchObject({ status: { readyReplicas: 1 } });

    const second = await repository.push({ 'shop/a.yaml': undefined, 'shop/b.yaml': web('2') });
    await installation.status(agent, inPhase(Phase.PHASE_SYNCED, second), `${agent} to have synced the change`);
    expect(JSON.stringify(await reader.get(pathOf(shop, 'deployments', 'web')))).toContain('example.com/web:2');
    expect(await reader.get(pathOf(shop, 'configmaps', 'settings'))).toBeUndefined();

    await cluster.kubectl(['-n', shop, 'set', 'image', 'deployment/web', 'web=example.com/web:edited']);
    await reader.until(pathOf(shop, 'deployments', 'web'), (live) => JSON.stringify(live).includes('web:2'), 'the correction');
    await cluster.kubectl(['-n', shop, 'delete', 'secret', 'password']);
    await reader.until(pathOf(shop, 'secrets', 'password'), (live) => live !== undefined, 'the deleted Secret to be back');
    return repository;
  }

  function pathOf(namespace: string, resource: string, name: string): string {
    return `/${resource === 'deployments' ? 'apis/apps/v1' : 'api/v1'}/namespaces/${namespace}/${resource}/${name}`;
  }

  async function install(agent: string, rbac: Values): Promise<AgentRelease> {
    const release = await AgentRelease.install(installation, agent, await freePort(), { rbac });
    releases.push(release);
    await release.start();
    return release;
  }

  /** What is told of a Role that the agent may not deploy. */
  async function refusal(agent: string, repository: Repository): Promise<string> {
    const commit = await repository.push({ 'shop/c.yaml': ROLE });
    const status = await installation.status(agent, inPhase(Phase.PHASE_FAILED, commit), `${agent} to have failed`);
    const [failed, ...others] = status.objects.filter(({ action }) => action === Action.ACTION_FAILED);
    expect(others).toEqual([]);
    return `${failed?.id?.kind} ${failed?.id?.name}: ${failed?.message}`;
  }

  function missing(release: AgentRelease, shop: string): string {
    const user = `User "system:serviceaccount:${release.namespace}:agentk"`;
    return `${user} cannot watch resource "roles" in API group "rbac.authorization.k8s.io" in the namespace "${shop}"`;
  }

  async function workloads(): Promise<void> {
    const shop = await cluster.namespace();
    const release = await install('workloads', {});
    expect(await release.ready()).toBe(200);
    const repository = await tellStory('workloads', shop, {});
    expect(await refusal('workloads', repository)).toContain(missing(release, shop));

    // Next to agentk itself, which it looks out for before it deletes there.
    const own = settings('own').replace('settings }', `beside, namespace: ${release.namespace} }`);
    const files = { 'a.yaml': settings('two'), 'c.yaml': undefined, 'own.yaml': own };
    const added = await repository.addUnit('shop', files);
    await installation.status('workloads', inPhase(Phase.PHASE_SYNCED, added), 'what is beside agentk to be synced');
    const last = await repository.push({ 'shop/own.yaml': undefined, 'shop/b.yaml': undefined });
    await installation.status('workloads', inPhase(Phase.PHASE_SYNCED, last), 'all but one object to be pruned');
    expect(await installation.reader.get(pathOf(release.namespace, 'configmaps', 'beside'))).toBeUndefined();
    expect(await installation.reader.get(pathOf(shop, 'secrets', 'password'))).toBeUndefined();
  }

  async function namespaced(): Promise<void> {
    const shop = await cluster.namespace();
    const release = await install('namespaced', { mode: 'namespaced', namespaces: [shop] });
    const repository = await tellStory('namespaced', shop, {});
    expect(await refusal('namespaced', repository)).toContain(missing(release, shop));
  }

  async function impersonation(): Promise<void> {
    const shop = await cluster.namespace();
    const kubectl = async (...args: string[]): Promise<string> => await cluster.kubectl(['-n', shop, ...args]);
    await kubectl('create', 'serviceaccount', 'deployer');
    const rule = ['--verb=get,list,create,patch,delete', '--resource=configmaps,secrets,deployments.apps'];
    await kubectl('create', 'role', 'deployer', ...rule);
    await kubectl('create', 'rolebinding', 'deployer', '--role=deployer', `--serviceaccount=${shop}:deployer`);
    const deployer = { namespace: shop, name: 'deployer' };
    const rbac = { mode: 'impersonation', namespaces: [shop], serviceAccounts: [deployer] };
    const release = await install('impersonation', rbac);
    const repository = await tellStory('impersonation', shop, { service_account: deployer });
    // Without the service account agentk may read, and nothing else.
    const configured = await repository.addUnit('shop', {});
    await release.waitForLine(new RegExp(`"commit":"${configured}".*"msg":"Configuration received"`));
    const alone = await repository.push({ 'shop/b.yaml': web('3') });
    const failed = await installation.status('impersonation', inPhase(Phase.PHASE_FAILED, alone), 'agentk to be refused');
    const message = failed.objects.find(({ id }) => id?.kind === 'Deployment')?.message;
    const user = `User "system:serviceaccount:${release.namespace}:agentk"`;
    expect(message).toMatch(
      new RegExp(`${user} cannot (get|patch) resource "deployments" in API group "apps" in the namespace "${shop}"`),
    );
  }

  async function clusterAdmin(): Promise<void> {
    const shop = await cluster.namespace();
    await install('cluster-admin', { mode: 'clusterAdmin' });
    const repository = await tellStory('cluster-admin', shop, {});
    const commit = await repository.push({ 'shop/c.yaml': ROLE });
    await installation.status('cluster-admin', inPhase(Phase.PHASE_SYNCED, commit), 'the Role to be synced');
  }

  it('workloads, the default: deploys in every namespace, and names the rule that it lacks', async () => {
    await expect(stories['workloads']).resolves.toBeUndefined();
  });

  it('namespaced: deploys where it was told, and names the rule that it lacks', async () => {
    await expect(stories['namespaced']).resolves.toBeUndefined();
  });

  it('impersonation: deploys as the service account that the unit names, and not as itself', async () => {
    await expect(stories['impersonation']).resolves.toBeUndefined();
  });

  it('clusterAdmin: deploys everything', async () => {
    await expect(stories['cluster-admin']).resolves.toBeUndefined();
  });

  it('the default has no right that nothing takes', async () => {
    const release = releases.find(({ name }) => name === 'workloads');
    const used = new Set(release?.proxy.requests.map((request) => rightOf(request)?.right));
    const rules = async (...args: string[]): Promise<ReadonlySet<string>> =>
      rightsOf((JSON.parse(await cluster.kubectl(['get', ...args, '-o', 'json'])) as { rules: readonly Rule[] }).rules);
    const namespace = release?.namespace ?? '';
    const own = await rules('role', 'agentk', '-n', namespace);
    const everywhere = await rules('clusterrole', `${namespace}-agentk`);
    expect(
      [...own, ...everywhere].filter((right) => !used.has(right) && !IN_OTHER_CASES.some((rule) => rule.test(right))),
    ).toEqual([]);
  });
});

/** What this story has no part of. */
const IN_OTHER_CASES = [
  // Objects are created by a patch; the right to create is asked for besides.
  /^create /,
  // Of API servers before 1.32, which do not stream lists.
  /^list /,
  // Kinds that are treated as those of the story are.
  / (services|serviceaccounts|persistentvolumeclaims)$/,
  / (statefulsets|daemonsets)\.apps$/,
  /\.(batch|autoscaling|policy|networking\.k8s\.io)$/,
  / namespaces$/,
  // Kinds of agentk's own role that are in the other one, too.
  /^get deployments\.apps$/,
];
