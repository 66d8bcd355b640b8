import { NO_API_ACCESS } from '../../lib/api-access.ts';
import { NO_OBJECT_CACHE } from '../../lib/object-cache-policy.ts';
import { DEFAULT_POLICY } from '../../lib/unit-policy.ts';
import { NO_ACCESS } from './access-policy.ts';
import { parseConfiguration } from './parse-configuration.ts';

const FILE = '.gitlab/agents/prod/config.yaml';

function parse(text: string | Buffer) {
  return parseConfiguration(Buffer.from(text), FILE, 'platform/agents', 'c0ffee');
}

test.each(['', '# nothing\n', 'gitops:\n  manifest_projects: []\n'])('%j has no units', (text) => {
  expect(parse(text)).toEqual({
    configuration: {
      commitId: 'c0ffee',
      logLevel: 'info',
      units: [],
      healthRules: [],
      access: NO_ACCESS,
      sharing: { ci_access: { projects: [], groups: [] } },
      httpServices: [],
      apiAccess: NO_API_ACCESS,
      objectCache: NO_OBJECT_CACHE,
    },
  });
});

test('an entry without settings is the configuration project with defaults', () => {
  expect(parse('gitops: {manifest_projects: [{}]}').configuration?.units).toEqual([
    {
      name: 'platform/agents',
      project: 'platform/agents',
      ref: undefined,
      globs: ['**/*.{yaml,yml,json}'],
      ...DEFAULT_POLICY,
    },
  ]);
});

test('every setting is read', () => {
  const { configuration } = parse(`
gitops:
  manifest_projects:
    - id: shop/web
      name: web-production
      ref: {branch: release/1.x}
      default_namespace: shop
      paths: [{glob: 'prod/**/*.yaml'}, {glob: /base/*.json}]
      resource_inclusions: [{api_groups: [apps], kinds: [Deployment]}]
      resource_exclusions: [{api_groups: ["", apps], kinds: ["*"]}]
      prune: false
      prune_timeout: 5m
      prune_propagation_policy: foreground
      prune_budget: {objects: 10, percent: 5}
      removal_policy: prune
      reconcile_timeout: 10m
      dry_run_strategy: server
      inventory_policy: adopt_all
      conflict_policy: report
      take_over_from: [helm]
      depends_on: [web-tag]
      suspend: true
      service_account: {namespace: shop, name: deployer}
      drift:
        policy: report
        additions: remove
        ignore:
          - {target: {api_group: apps, kind: Deployment, label_selector: hpa=on}, json_pointers: [/spec/replicas], managers: [hpa]}
    - {id: shop/web, name: web-tag, ref: {tag: v1.0}}
    - {id: shop/web, ref: {commit: ${'a'.repeat(40)}}}
  health_rules:
    - {api_group: example.com, kind: Shop, current: object.status.ready}
observability: {logging: {level: debug}}
`);
  expect(configuration?.healthRules).toEqual([
    { group: 'example.com', kind: 'Shop', inProgress: '', failed: '', current: 'object.status.ready' },
  ]);
  expect(configuration?.logLevel).toBe('debug');
  expect(configuration?.units[0]).toEqual({
    name: 'web-production',
    project: 'shop/web',
    ref: 'refs/heads/release/1.x',
    defaultNamespace: 'shop',
    globs: ['prod/**/*.yaml', '/base/*.json'],
    prune: false,
    reconcileTimeoutMs: 600_000,
    pruneTimeoutMs: 300_000,
    prunePropagation: 'foreground',
    pruneBudget: { objects: 10, percent: 5 },
    removalPolicy: 'prune',
    inventoryPolicy: 'adopt_all',
    conflictPolicy: 'report',
    dryRunStrategy: 'server',
    takeOverFrom: ['helm'],
    driftPolicy: 'report',
    driftAdditions: 'remove',
    ignoreRules: [
      {
        target: { group: 'apps', kind: 'Deployment', namespace: '', name: '', labelSelector: 'hpa=on' },
        jsonPointers: ['/spec/replicas'],
        managers: ['hpa'],
      },
    ],
    dependsOn: ['web-tag'],
    suspended: true,
    serviceAccount: { namespace: 'shop', name: 'deployer' },
    inclusions: [{ apiGroups: ['apps'], kinds: ['Deployment'] }],
    exclusions: [{ apiGroups: ['', 'apps'], kinds: ['*'] }],
  });
  expect(configuration?.units.map(({ name, ref }) => [name, ref])).toEqual([
    ['web-production', 'refs/heads/release/1.x'],
    ['web-tag', 'refs/tags/v1.0'],
    ['shop/web', 'a'.repeat(40)],
  ]);
});

test.each([
  ['overlays/prod', 'overlays/prod/'],
  ['./overlays//prod/', 'overlays/prod/'],
  ['.', './'],
  ['weird/[a]*{b}', String.raw`weird/\[a\]\*\{b\}/`],
])('a kustomization in %s is the glob that names this folder alone', (path, glob) => {
  const { configuration } = parse(`gitops: {manifest_projects: [{kustomize: {path: "${path}"}}]}`);
  expect(configuration?.units[0]?.globs).toEqual([glob]);
});

test.each([
  ['paths beside kustomize', '{kustomize: {path: a}, paths: [{glob: b}]}', /paths: stands beside kustomize; keep one of them/],
  ['a folder outside of the repository', '{kustomize: {path: a/../../b}}', /kustomize\.path: must be a folder of the repository/],
  ['a folder from the root of the machine', '{kustomize: {path: /etc}}', /kustomize\.path: must be a folder of the repository/],
])('%s is refused', (_, entry, message) => {
  expect(parse(`gitops: {manifest_projects: [${entry}]}`).problems?.[0]?.message).toMatch(message);
});

test.each([
  ['an unknown key', 'gitops:\n  manifest_projekts: []\n', 2, /manifest_projekts: unknown key; did you mean "manifest_projects"/],
  [
    'an unknown key of an entry',
    'gitops:\n  manifest_projects:\n    - id: a/b\n      helm: {}\n',
    4,
    /helm: unknown key; known here: .*paths/,
  ],
  ['a tab', 'gitops:\n\tmanifest_projects: []\n', 2, /tab/],
  ['a wrong type', 'gitops: {manifest_projects: [{prune: "yes"}]}', 1, /prune: must be true or false/],
  ['two refs', 'gitops: {manifest_projects: [{ref: {branch: a, tag: b}}]}', 1, /exactly one of branch, tag and commit/],
  ['an empty ref', 'gitops: {manifest_projects: [{ref: {}}]}', 1, /exactly one of branch, tag and commit/],
  ['a short commit', 'gitops: {manifest_projects: [{ref: {commit: abc123}}]}', 1, /full commit id/],
  ['a branch that Git does not allow', 'gitops: {manifest_projects: [{ref: {branch: "a..b"}}]}', 1, /not a name that Git allows/],
  ['no glob', 'gitops: {manifest_projects: [{paths: []}]}', 1, /paths: is empty; add a glob/],
  ['an empty glob', 'gitops: {manifest_projects: [{paths: [{glob: ""}]}]}', 1, /glob: is empty/],
  ['a bad namespace', 'gitops: {manifest_projects: [{default_namespace: Shop}]}', 1, /must be a namespace/],
  ['a bad timeout', 'gitops: {manifest_projects: [{reconcile_timeout: 1 hour}]}', 1, /must be a duration/],
  ['a bad policy', 'gitops: {manifest_projects: [{drift: {policy: ignore}}]}', 1, /"correct" or "report" or "off"/],
  [
    'a pointer that is none',
    'gitops:\n  manifest_projects:\n    - drift:\n        ignore:\n          - json_pointers: [spec.replicas]\n',
    5,
    /json_pointers\[0\]: must be a JSON pointer .*\/spec\/replicas/,
  ],
  [
    'a pointer to what makes the object',
    'gitops: {manifest_projects: [{drift: {ignore: [{json_pointers: [/metadata/name]}]}}]}',
    1,
    /never ignored/,
  ],
  [
    'a bad label selector',
    'gitops: {manifest_projects: [{drift: {ignore: [{target: {label_selector: "a<b"}, managers: [x]}]}}]}',
    1,
    /label_selector: "a<b" is not a label requirement/,
  ],
  [
    'a health rule with a typing error',
    'gitops:\n  health_rules:\n    - api_group: example.com\n      kind: Shop\n      current: objekt.status.ready\n',
    5,
    /current: is no valid CEL expression: Unknown variable: objekt; correct it/,
  ],
  ['a bad level', 'observability: {logging: {level: trace}}', 1, /level: must be/],
  ['a list', '- a\n', 1, /mapping/],
  ['bytes that are no text', Buffer.from([0x61, 0xff, 0xfe]), 1, /not UTF-8/],
])('%s is a problem with its line', (_, text, line, message) => {
  expect(parse(text).problems).toEqual([
    { severity: 'error', reason: 'InvalidConfiguration', file: FILE, line, message: expect.stringMatching(message) },
  ]);
});

test('two units with one name are two problems, each with the line of one of them', () => {
  const { problems } = parse(`gitops:
  manifest_projects:
    - id: shop/web
    - id: shop/other
    - id: shop/third
      name: shop/web
`);
  expect(problems).toMatchObject([
    { line: 3, message: expect.stringMatching(/"shop\/web" is also that of gitops\.manifest_projects\[2\]/) },
    { line: 6, message: expect.stringMatching(/"shop\/web" is also that of gitops\.manifest_projects\[0\]/) },
  ]);
});

test('a unit that needs an unknown one is a problem with its line', () => {
  const { problems } = parse(`gitops:
  manifest_projects:
    - id: shop/web
      depends_on:
        - shop/db
`);
  expect(problems).toMatchObject([{ line: 5, message: expect.stringMatching(/no unit of this file has the name "shop\/db"/) }]);
});

test('units that wait for each other are a problem for each of them', () => {
  const { problems } = parse(`gitops:
  manifest_projects:
    - {name: a, depends_on: [b]}
    - {name: b, depends_on: [c]}
    - {name: c, depends_on: [a]}
    - {name: d, depends_on: [a]}
`);
  expect(problems?.map(({ line, message }) => [line, message.match(/: (\S+ -> .*);/)?.[1]])).toEqual([
    [3, 'a -> b -> c -> a'],
    [4, 'b -> c -> a -> b'],
    [5, 'c -> a -> b -> c'],
  ]);
});

test('one project may be in several units', () => {
  expect(parse('gitops: {manifest_projects: [{id: a/b, name: x}, {id: a/b, name: y}]}').configuration?.units).toHaveLength(2);
});

test.each([
  ['', { type: 'none' }],
  ['api_access: {access_as: {agent: {}}}', { type: 'agent' }],
  ['api_access: {access_as: {caller: {}}}', { type: 'caller' }],
  [
    'api_access: {access_as: {impersonate: {username: rails, groups: [a], extra: [{key: k, val: [v]}]}}}',
    { type: 'impersonate', identity: { username: 'rails', uid: '', groups: ['a'], extra: [{ key: 'k', values: ['v'] }] } },
  ],
])("%j says as whom callers of kas' API act", (text, access) => {
  expect(parse(text).configuration?.apiAccess).toEqual(access);
});

test.each(['api_access: {}', 'api_access: {access_as: {}}', 'api_access: {access_as: {agent: {}, caller: {}}}'])(
  '%j does not say as whom',
  (text) => {
    const { configuration, problems } = parse(text);
    expect(configuration).toBeUndefined();
    expect(problems?.[0]?.message).toMatch(/api_access.*access_as/);
  },
);
