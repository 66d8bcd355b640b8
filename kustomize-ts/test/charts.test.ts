import { type BuildOptions, type HelmChart, Kustomize, KustomizeError } from 'kustomize-ts';
import { kubectlKustomize } from './kubectl.ts';

const kustomize = new Kustomize({ workers: 1 });
afterAll(() => kustomize.close());

type Files = Readonly<Record<string, string>>;

const RENDERED: Readonly<Record<string, string>> = {
  moria: `---
# Source: minecraft/templates/secrets.yaml
apiVersion: v1
kind: Secret
metadata: {name: moria-minecraft, labels: {app: moria-minecraft, release: "moria"}}
type: Opaque
data: {rcon-password: "Q0hBTkdFTUUh"}
---
# Source: minecraft/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: moria-minecraft, namespace: games}
spec:
  selector: {matchLabels: {app: moria-minecraft}}
  template:
    metadata: {labels: {app: moria-minecraft}}
    spec:
      containers:
      - name: server
        image: itzg/minecraft-server:latest
        envFrom: [{secretRef: {name: moria-minecraft}}, {configMapRef: {name: settings}}]
---
# Source: minecraft/templates/namespace.yaml
apiVersion: v1
kind: Namespace
metadata: {name: games}
`,
  shire: 'apiVersion: v1\nkind: Service\nmetadata:\n  name: shire\n  namespace: elsewhere\nspec: {ports: [{port: 25565}]}\n',
  empty: '',
};

const CHART = 'minecraft';
const CONFIG_MAP = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: plain\n';

/** What upstream wants of a chart before it asks helm: its folder with values. */
const LOCAL: Files = { 'charts/minecraft/values.yaml': 'eula: false\n', 'charts/minecraft/Chart.yaml': 'name: minecraft\n' };

const CASES: readonly (readonly [string, Files, string])[] = [
  [
    'beside resources and other generators, with transformers over all',
    {
      ...LOCAL,
      'kustomization.yaml': `resources: [cm.yaml]
namespace: shop
namePrefix: prod-
labels: [{pairs: {team: dwarves}, includeSelectors: true}]
images: [{name: itzg/minecraft-server, newTag: "1"}]
configMapGenerator: [{name: settings, literals: [a=b]}]
secretGenerator: [{name: key, literals: [a=b]}]
patches:
- target: {kind: Deployment}
  patch: '[{"op": "add", "path": "/spec/replicas", "value": 3}]'
helmCharts:
- {name: ${CHART}, releaseName: moria, namespace: games}
- {name: ${CHART}, releaseName: shire}
`,
      'cm.yaml': CONFIG_MAP,
    },
    '.',
  ],
  [
    'in a base, under an overlay with a namespace',
    {
      'base/charts/minecraft/values.yaml': '',
      'base/kustomization.yaml': `resources: [cm.yaml]\nhelmCharts: [{name: ${CHART}, releaseName: moria}]\n`,
      'base/cm.yaml': CONFIG_MAP,
      'over/kustomization.yaml': 'resources: [../base]\nnamespace: shop\nnameSuffix: -x\n',
    },
    'over',
  ],
  [
    'by a generator of its own',
    {
      ...LOCAL,
      'kustomization.yaml': 'generators: [g.yaml]\nresources: [cm.yaml]\nsortOptions: {order: fifo}\n',
      'g.yaml': `apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: g}\nname: ${CHART}\nreleaseName: moria\n`,
      'cm.yaml': CONFIG_MAP,
    },
    '.',
  ],
  [
    'as of old',
    { ...LOCAL, 'kustomization.yaml': `helmChartInflationGenerator: [{chartName: ${CHART}, releaseName: shire}]\n` },
    '.',
  ],
  [
    'with origins',
    {
      ...LOCAL,
      'kustomization.yaml': `buildMetadata: [originAnnotations, transformerAnnotations]\nnamePrefix: p-\nhelmCharts: [{name: ${CHART}, releaseName: shire}]\n`,
    },
    '.',
  ],
  [
    'that are empty',
    {
      ...LOCAL,
      'kustomization.yaml': `resources: [cm.yaml]\nhelmCharts: [{name: ${CHART}, releaseName: empty}]\n`,
      'cm.yaml': CONFIG_MAP,
    },
    '.',
  ],
];

const renderChart: BuildOptions['renderChart'] = async ({ releaseName = '' }) => RENDERED[releaseName];

it.each(CASES)('rendered charts come out as they do of kubectl: %s', async (_, files, path) => {
  const bytes = new Map(Object.entries(files).map(([name, content]) => [name, Buffer.from(content)]));
  const [theirs, ours] = await Promise.all([
    kubectlKustomize(bytes, path, RENDERED),
    kustomize.build({ files, path, renderChart }),
  ]);
  expect(theirs.error).toBeUndefined();
  expect({ yaml: ours.yaml, warnings: ours.warnings }).toEqual({ yaml: theirs.yaml, warnings: theirs.warnings });
});

it.each([
  ['without a name', 'helmCharts: [{releaseName: moria}]\n'],
  ['with a merge that does not exist', `helmCharts: [{name: ${CHART}, releaseName: moria, valuesMerge: sometimes}]\n`],
  ['with a values file that is not there', `helmCharts: [{name: ${CHART}, releaseName: moria, valuesFile: none.yaml}]\n`],
  [
    'with more values that are not there',
    `helmCharts: [{name: ${CHART}, releaseName: moria, additionalValuesFiles: [no.yaml]}]\n`,
  ],
])('a chart %s is refused as by kubectl', async (_, kustomization) => {
  const files = { ...LOCAL, 'kustomization.yaml': kustomization };
  const bytes = new Map(Object.entries(files).map(([name, content]) => [name, Buffer.from(content)]));
  const [theirs, ours] = await Promise.all([kubectlKustomize(bytes, '.', RENDERED), failureOf({ files, renderChart })]);
  expect(ours.message).toBe(theirs.error);
  expect(ours.file).toBe('kustomization.yaml');
});

it('the caller is told all of a chart, with paths from the root', async () => {
  const asked: HelmChart[] = [];
  const files = {
    'over/kustomization.yaml': 'resources: [../base]\nnamespace: shop\n',
    'base/kustomization.yaml': `helmGlobals: {chartHome: ../vendored}
helmCharts:
- name: ${CHART}
  version: 3.1.3
  repo: https://example.com/charts
  releaseName: shire
  valuesFile: values.yaml
  additionalValuesFiles: [more.yaml]
  valuesInline: {eula: true, list: [1, 2.5, x]}
  valuesMerge: merge
  includeCRDs: true
  skipHooks: true
  skipTests: true
  apiVersions: [a/v1]
  kubeVersion: "1.36"
  nameTemplate: x
  devel: true
  debug: true
`,
    'base/values.yaml': 'a: b\n',
    'base/more.yaml': 'c: d\n',
  };
  const { files: read } = await kustomize.build({
    files,
    path: 'over',
    renderChart: async (chart) => {
      asked.push(chart);
      return Buffer.from(RENDERED['shire'] ?? '');
    },
  });
  expect(asked).toEqual([
    {
      name: CHART,
      version: '3.1.3',
      repo: 'https://example.com/charts',
      releaseName: 'shire',
      namespace: 'shop',
      chartHome: 'vendored',
      valuesFile: 'base/values.yaml',
      additionalValuesFiles: ['base/more.yaml'],
      valuesInline: { eula: true, list: [1, 2.5, 'x'] },
      valuesMerge: 'merge',
      includeCRDs: true,
      skipHooks: true,
      skipTests: true,
      apiVersions: ['a/v1'],
      kubeVersion: '1.36',
      nameTemplate: 'x',
      devel: true,
      debug: true,
    },
  ]);
  expect(read).toEqual(expect.arrayContaining(['base/values.yaml', 'base/more.yaml']));
});

it('a chart that nobody rendered is refused, and said', async () => {
  const files = {
    'kustomization.yaml': `namespace: games\nhelmCharts: [{name: ${CHART}, version: 3.1.3, repo: "https://example.com/charts", releaseName: moria}]\n`,
  };
  const failure = await failureOf({ files, renderChart: async () => undefined });
  expect(failure).toMatchObject({
    code: 'HelmRefused',
    file: 'kustomization.yaml',
    field: 'helmCharts',
    chart: { name: CHART, version: '3.1.3', repo: 'https://example.com/charts', releaseName: 'moria', namespace: 'games' },
    message: expect.stringContaining('minecraft 3.1.3 of https://example.com/charts (release moria, namespace games)'),
  });
  expect((await failureOf({ files })).chart).toEqual(failure.chart);
});

it('a build ends with what rendering a chart ended with, and the next one works', async () => {
  const files = { 'kustomization.yaml': `helmCharts: [{name: ${CHART}, releaseName: shire}]\n` };
  const lost = new Error('helm is gone');
  await expect(kustomize.build({ files, renderChart: () => Promise.reject(lost) })).rejects.toBe(lost);
  expect((await kustomize.build({ files, renderChart })).yaml).toContain('name: shire');
});

it('a rendered chart counts as a file does', async () => {
  await using small = new Kustomize({ workers: 1, limits: { maxFileBytes: 200 } });
  const files = { 'kustomization.yaml': `helmCharts: [{name: ${CHART}, releaseName: moria}]\n` };
  await expect(small.build({ files, renderChart })).rejects.toMatchObject({ code: 'TooLarge' });
});

async function failureOf(options: BuildOptions): Promise<KustomizeError> {
  const error: unknown = await kustomize.build(options).catch((reason: unknown) => reason);
  if (!(error instanceof KustomizeError)) throw new Error(`The build did not fail as it should: ${String(error)}`);
  return error;
}
