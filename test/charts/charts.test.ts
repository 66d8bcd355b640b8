import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { load, loadAll } from 'js-yaml';
import { parseFlags } from '../../agentk/config/flags.ts';
import { valuesSchemas } from '../../charts/schema/values-schema.ts';
import { parseKasConfig } from '../../kas/config/load.ts';
import { parseGitServerConfig } from '../../kas/gitserver/config.ts';
import { KasMetrics } from '../../kas/observability/kas-metrics.ts';
import { registrySchema } from '../../kas/registry/registry-file.ts';
import { parseYamlConfig } from '../../lib/yaml-config.ts';
import { useCluster } from '../harness/cluster.ts';
import { runGo } from '../harness/go-tool.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { CHARTS, Helm } from './helm.ts';

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly template?: { readonly spec: { readonly containers: readonly { readonly args: string[] }[] } } };
}

const REPOSITORY = join(CHARTS, '..');
const OPERATOR = 'github.com/prometheus-operator/prometheus-operator@v0.85.0';
const SERVICE_MONITORS = 'example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml';
const NEVER = new AbortController().signal;

async function ciFiles(chart: string): Promise<string[]> {
  return (await readdir(join(CHARTS, chart, 'ci'))).map((name) => join(chart, 'ci', name));
}

const files = [...(await ciFiles('kas')), ...(await ciFiles('agentk'))];
const chartOf = (file: string): string => file.slice(0, file.indexOf('/'));

describe('The schemas of values', () => {
  it.each(Object.entries(valuesSchemas()))("%s is made of the programs' own: run `npm run generate:docs`", async (file, text) => {
    expect(await readFile(join(REPOSITORY, file), 'utf8')).toBe(text);
  });

  it.each(['kas', 'agentk'])('know what values.yaml of %s shows, and nothing else', async (chart) => {
    const values = load(await readFile(join(CHARTS, chart, 'values.yaml'), 'utf8')) as Record<string, unknown>;
    const schema = JSON.parse(await readFile(join(CHARTS, chart, 'values.schema.json'), 'utf8')) as Schema;
    const shown = keysOf(values, schema).filter((key) => !PROGRAMS.some((program) => key.startsWith(program)));
    const known = knownKeys(schema).filter((key) => key !== 'global' && !PROGRAMS.some((program) => key.startsWith(program)));
    expect(shown.toSorted()).toEqual(known.toSorted());
  });
});

/** Whose keys docs/configuration.md shows. */
const PROGRAMS = ['config.', 'registry.', 'gitserver.config.'];

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
}

function knownKeys(schema: Schema, prefix = ''): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, child]) => [
    prefix + key,
    ...knownKeys(child, `${prefix}${key}.`),
  ]);
}

function keysOf(values: object, schema: Schema, prefix = ''): string[] {
  return Object.entries(values).flatMap(([key, value]) => {
    const child = schema.properties?.[key];
    const isLeaf = Object.keys(child?.properties ?? {}).length === 0 || typeof value !== 'object' || value === null;
    return [prefix + key, ...(isLeaf ? [] : keysOf(value, child ?? {}, `${prefix}${key}.`))];
  });
}

describe('The charts', () => {
  const cluster = useCluster();
  let directory: TempDir;
  let helm: Helm;
  let namespace: string;
  /** Has the namespace as its own, where helm would put what names none. */
  let kubeconfig: string;

  beforeAll(async () => {
    directory = await createTempDir();
    helm = await Helm.open(cluster.kubeconfigPath, directory.path);
    namespace = await cluster.namespace();
    kubeconfig = join(directory.path, 'kubeconfig');
    await writeFile(kubeconfig, await cluster.kubectl(['config', 'view', '--raw']), { mode: 0o600 });
    await cluster.kubectl(['--kubeconfig', kubeconfig, 'config', 'set-context', '--current', '--namespace', namespace]);
    // What a cluster has that runs the operator of Prometheus.
    const { Dir } = JSON.parse(await runGo(['mod', 'download', '-json', OPERATOR], directory.path, NEVER)) as { Dir: string };
    await cluster.kubectl(['apply', '--server-side', '--filename', join(Dir, SERVICE_MONITORS)]);
    await cluster.kubectl(['wait', '--for=condition=Established', 'crd/servicemonitors.monitoring.coreos.com']);
  }, 30 * 60_000);

  afterAll(async () => {
    await cluster.kubectl(['delete', '--wait=false', '--ignore-not-found', 'crd/servicemonitors.monitoring.coreos.com']);
    await directory.remove();
  });

  async function render(file: string, ...args: readonly string[]): Promise<string> {
    return await helm.run('template', 'release', chartOf(file), '--namespace', namespace, '--values', file, ...args);
  }

  it.each(files)('%s passes lint and a dry-run on the API server', async (file) => {
    await helm.run('lint', '--strict', chartOf(file), '--values', file);
    const manifests = await render(file);
    const options = ['--kubeconfig', kubeconfig, '--server-side', '--dry-run=server', '--filename', '-'];
    const applied = await cluster.kubectl(['apply', ...options], { stdin: manifests });
    const kinds = (loadAll(manifests) as (Manifest | null)[]).filter((manifest) => manifest !== null);
    expect(applied.trim().split('\n')).toHaveLength(kinds.length);
  });

  async function rendered(file: string): Promise<readonly Manifest[]> {
    return (loadAll(await render(file)) as (Manifest | null)[]).filter((manifest) => manifest !== null);
  }

  it.each(files.filter((file) => chartOf(file) === 'kas'))('%s renders files that the programs read', async (file) => {
    const data = Object.assign({}, ...(await rendered(file)).map((manifest) => manifest.data ?? {})) as Record<string, string>;
    const config = parseKasConfig(data['kas.yaml'] ?? '', '/etc/kas/config/kas.yaml');
    expect(config.agent.gitops.overridesFile).toBe('/var/lib/kas/unit-overrides.json');
    const registry = parseYamlConfig(data['registry.yaml'] ?? '', 'registry.yaml', registrySchema);
    expect(registry.agent_tokens_file).toMatch(/agent-tokens\.json$/);
    const gitserver = data['gitserver.yaml'] ?? 'storages: [{ name: default, path: none }]';
    expect(parseGitServerConfig(gitserver, 'gitserver.yaml').storages).toHaveLength(1);
  });

  it.each(files.filter((file) => chartOf(file) === 'agentk'))('%s renders arguments that agentk reads', async (file) => {
    const workload = (await rendered(file)).find(({ kind }) => kind === 'Deployment');
    const args = workload?.spec?.template?.spec.containers[0]?.args ?? [];
    expect(parseFlags(args, { POD_NAMESPACE: 'gitops' })).toMatchObject({ namespace: 'gitops' });
  });

  const AGENTK = ['agentk', '--values', 'agentk/ci/workloads-values.yaml'];
  it.each([
    [['kas', '--set', 'replica=2'], "at '': additional properties 'replica' not allowed"],
    [['kas', '--set', 'config.agent.listen.adress=:1'], "at '/config/agent/listen': additional properties 'adress' not allowed"],
    [['kas', '--set', 'config.agent.gitops.poll_period=soon'], "at '/config/agent/gitops/poll_period': 'soon' does not match"],
    [['kas', '--set', 'gitserver.config.listen.port=1'], "at '/gitserver/config/listen': additional properties 'port'"],
    [['kas', '--set', 'registry.agents[0].id=0'], "at '/registry/agents/0/id': minimum: got 0, want 1"],
    [['kas', '--set', 'persistence.size=big'], "at '/persistence/size': 'big' does not match"],
    [['kas', '--set', 'replicas=2'], 'replicas: more than one need a Redis'],
    [['kas', '--set', 'replicas=2,redis.bundled.enabled=true'], 'agentTokens.existingSecret: is empty; several replicas'],
    [['kas', '--set', 'ingress.grpc.enabled=true'], 'ingress.grpc.host: is empty'],
    [
      ['kas', '--set', 'ingress.cable.enabled=true,ingress.cable.host=a'],
      'ingress.cable.enabled: kas listens to nothing of the kind',
    ],
    [['agentk'], "at '/kas/address': '' does not match"],
    [[...AGENTK, '--set', 'rbac.mode=all'], "at '/rbac/mode': value must be one of 'workloads', 'namespaced'"],
    [[...AGENTK, '--set', 'kas.url=x'], "at '/kas': additional properties 'url' not allowed"],
    [[...AGENTK, '--set', 'rbac.mode=namespaced'], 'rbac.namespaces: is empty'],
    [[...AGENTK, '--set', 'token.value='], 'token: set token.existingSecret'],
  ])('%j is refused with the name of the field', async (args, message) => {
    await expect(helm.run('template', ...args)).rejects.toThrow(message);
  });

  it('show in the dashboard what kas counts, and nothing else', async () => {
    const text = await new KasMetrics(() => 0).text();
    const counted = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    const dashboard = await readFile(join(CHARTS, 'kas', 'dashboard.json'), 'utf8');
    const shown = [...dashboard.matchAll(/\b((?:kas|process|nodejs)_\w+)\{/g)].map(([, name]) => name);
    expect(shown.length).toBeGreaterThan(6);
    expect(shown.filter((name) => !counted.has(name))).toEqual([]);
  });

  it('pack what is needed and nothing of the tests', async () => {
    for (const chart of ['kas', 'agentk']) {
      const line = await helm.run('package', chart, '--destination', directory.path);
      expect(line).toContain(`${chart}-0.1.0.tgz`);
      const packed = await helm.run('show', 'all', join(directory.path, `${chart}-0.1.0.tgz`));
      expect(packed).toContain(`name: ${chart}`);
    }
  });
});
