import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/**
 * What is in the repositories when something is recorded, and again when it is played: the same commits with the same ids.
 */

export const TOKEN = 'glagent-token-of-the-recordings';
export const AGENT_ID = 5;
export const AGENT_NAME = 'demo';
export const CONFIGURATION_PROJECT = 'team/demo';
export const PROJECT = 'team/shop';

type Files = Readonly<Record<string, string | null>>;

const CONFIGURATION = `.gitlab/agents/${AGENT_NAME}/config.yaml`;
export const configMap = (name: string, value: string): string =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\ndata:\n  value: "${value}"\n`;

/** One after another, on the default branch of the configuration project. */
export const CONFIGURATIONS: readonly Files[] = [
  {
    [CONFIGURATION]: `gitops:
  manifest_projects:
    - id: ${PROJECT}
      default_namespace: shop
      paths: [{glob: "apps/**/*.yaml"}, {glob: "/*.json"}]
      resource_inclusions: [{api_groups: [""], kinds: ["ConfigMap"]}]
      resource_exclusions: [{api_groups: ["apps", ""], kinds: ["*"]}]
observability: {logging: {level: debug}}
`,
  },
  { [CONFIGURATION]: `gitops:\n  manifest_projects:\n    - id: ${PROJECT}\n` },
  { [CONFIGURATION]: '' },
];

/** Of the manifest project. */
export const MANIFESTS: readonly Files[] = [
  {
    'apps/web/settings.yaml': configMap('settings', '1'),
    'apps/two.yaml': `${configMap('two-a', '1')}---\n${configMap('two-b', '1')}`,
    'apps/big.yaml': configMap('big', '0123456789abcdef'.repeat(8_500)),
    'apps/.hidden/left-out.yaml': configMap('left-out', '1'),
    'apps/.dot-file.yaml': configMap('dot-file', '1'),
    'root.json': JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'root' }, data: { value: '1' } }),
    'root.yaml': configMap('not-matched', '1'),
    README: 'no manifest',
  },
  { 'apps/web/settings.yaml': configMap('settings', '2') },
  { 'apps/two.yaml': null },
];

/** The messages of commits, which are part of their ids. */
const MESSAGE = 'Change\n';

/** Puts the next of the story's commits on `main` of a bare repository; its id. */
export async function commitStory(repository: string, story: readonly Files[], index: number): Promise<string> {
  const files = story[index];
  if (files === undefined) throw new Error(`the story has no commit ${index}`);
  const seconds = 1_610_000_000 + index;
  const chunks = [
    `commit refs/heads/main\nmark :1\ncommitter story <story@example.com> ${seconds} +0000\ndata ${MESSAGE.length}\n${MESSAGE}`,
    index === 0 ? '' : 'from refs/heads/main^0\n',
    ...Object.entries(files).map(([path, content]) =>
      content === null ? `D ${path}\n` : `M 100644 inline ${path}\ndata ${Buffer.byteLength(content)}\n${content}\n`,
    ),
    '\nget-mark :1\n',
  ];
  const running = promisify(execFile)('git', ['fast-import', '--quiet'], { cwd: repository, env: { PATH: process.env['PATH'] } });
  running.child.stdin?.end(chunks.join(''));
  return (await running).stdout.trim();
}
