import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Action, Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import { Severity, type SourceProblem, type UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { useCluster } from '../harness/cluster.ts';
import { startProgram } from '../harness/process.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Line } from './line.ts';
import { type Changes, configMap, configMapPath, type Repository } from './repository.ts';

const CHECKOUT = join(import.meta.dirname, '../..');
const EMPTY_PROJECT = 'e2e/empty';
const LIMIT_BYTES = 5 << 20;

const SETTINGS = 'app/settings.yaml';
const EXTRA = 'app/extra.yaml';
const good = { 'settings.yaml': configMap('settings', { edition: '1' }), 'extra.yaml': configMap('extra') };

const cluster = useCluster();
let line: Line;
let repository: Repository;
let namespace: string;

beforeAll(async () => {
  namespace = await cluster.namespace();
  line = await Line.open({
    kubeconfigPath: cluster.kubeconfigPath,
    kubectlPath: cluster.kubectlPath,
    projects: ['e2e/app', EMPTY_PROJECT],
  });
  repository = await line.repository(namespace);
  const commit = await repository.addUnit('app', good);
  await line.stack.agentk.start();
  await line.inPhase('app', Phase.PHASE_SYNCED, commit);
});

afterAll(async () => {
  await line[Symbol.asyncDispose]();
});

const config = async (name: string): Promise<unknown> => (await line.cluster.get(configMapPath(namespace, name)))?.['data'];

async function kasLogs(...parts: readonly string[]): Promise<void> {
  const has = (): boolean => line.stack.kas.lines.some((text) => parts.every((part) => text.includes(part)));
  await waitUntil(has, { what: `a line in kas' log with ${parts.join(', ')}` });
}

interface BadCommit {
  readonly title: string;
  /** What the commit does besides a change that is good in itself. */
  readonly changes: Changes;
  readonly reason: string;
  readonly file: string;
  /** 0 where the file as a whole is meant. */
  readonly line: number;
  readonly object?: string;
  readonly message: RegExp;
}

const badManifests: readonly BadCommit[] = [
  {
    title: 'YAML with a tab',
    changes: { 'app/tab.yaml': 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: tab\n' },
    reason: 'InvalidYaml',
    file: 'app/tab.yaml',
    line: 4,
    message: /tab.*indent with spaces/,
  },
  {
    title: 'an object without kind',
    changes: { 'app/kind.yaml': `${configMap('first')}---\napiVersion: v1\nmetadata:\n  name: nameless-kind\n` },
    reason: 'MissingKind',
    file: 'app/kind.yaml',
    line: 3,
    object: 'nameless-kind',
    message: /has no kind; add one such as "kind: ConfigMap"/,
  },
  {
    title: 'a file over the limit',
    changes: { 'app/big.yaml': `# ${'x'.repeat(LIMIT_BYTES)}\n` },
    reason: 'FileTooLarge',
    file: 'app/big.yaml',
    line: 0,
    message: new RegExp(
      `app/big.yaml has ${LIMIT_BYTES + 3} bytes, ${LIMIT_BYTES} are allowed: split it, or raise max_manifest_file_size`,
    ),
  },
];

describe('a commit with bad manifests', () => {
  it.each(badManifests)('$title is refused with file, line and remedy; nothing of the commit is applied', async (bad) => {
    const before = await line.footprint();
    const commit = await repository.push({
      ...bad.changes,
      [SETTINGS]: configMap('settings', { edition: 'broken' }),
      [EXTRA]: undefined,
    });
    const failed = await line.inPhase('app', Phase.PHASE_FAILED, commit);
    expect(failed).toMatchObject({ reason: bad.reason, agentConnected: true });
    expect(failed.message).toContain(bad.line === 0 ? bad.file : `${bad.file}:${bad.line}`);
    expect(failed.message).toMatch(bad.message);
    expectProblem(failed, bad, commit);
    await kasLogs('"Sync source failed"', commit, `"reason":"${bad.reason}"`, `"file":"${bad.file}"`);
    expect(await line.footprint()).toEqual(before);

    const removal = Object.fromEntries(Object.keys(bad.changes).map((path) => [path, undefined]));
    const fix = await repository.push({ ...removal, [SETTINGS]: good['settings.yaml'], [EXTRA]: good['extra.yaml'] });
    const synced = await line.inPhase('app', Phase.PHASE_SYNCED, fix);
    expect(synced.problems).toEqual([]);
    expect(await line.footprint()).toEqual(before);
  });

  it('an object of an unknown kind fails alone, by name and with the remedy; the others are applied and nothing is pruned', async () => {
    const extra = (await line.cluster.get(configMapPath(namespace, 'extra')))?.metadata.uid;
    const thing = { apiVersion: 'example.com/v1beta1', kind: 'Gadget', metadata: { name: 'thing' } };
    const commit = await repository.push({
      'app/thing.yaml': `${configMap('beside', { is: 'applied' })}---\n${JSON.stringify(thing)}\n`,
      [SETTINGS]: configMap('settings', { edition: '2' }),
      [EXTRA]: undefined,
    });
    const failed = await line.inPhase('app', Phase.PHASE_FAILED, commit);
    expect(failed.reason).toBe('ApplyFailed');
    expect(failed.message).toContain('Gadget.example.com');
    const object = failed.objects.find(({ id }) => id?.kind === 'Gadget');
    expect(object).toMatchObject({ action: Action.ACTION_FAILED, reason: 'UnknownKind', source: 'app/thing.yaml:3' });
    expect(object?.message).toBe(
      'The API server does not know example.com/v1beta1, kind Gadget: correct the manifest, or install the CustomResourceDefinition it needs',
    );
    await kasLogs('"Object failed"', commit, 'app/thing.yaml:3', '"reason":"UnknownKind"');
    expect(await config('settings')).toEqual({ edition: '2' });
    expect(await config('beside')).toEqual({ is: 'applied' });
    expect((await line.cluster.get(configMapPath(namespace, 'extra')))?.metadata.uid).toBe(extra);

    await line.inPhase('app', Phase.PHASE_SYNCED, await repository.push({ 'app/thing.yaml': undefined }));
    expect(await line.cluster.get(configMapPath(namespace, 'extra'))).toBeUndefined();
    const back = await repository.push({ [SETTINGS]: good['settings.yaml'], [EXTRA]: good['extra.yaml'] });
    await line.inPhase('app', Phase.PHASE_SYNCED, back);
  });
});

function expectProblem(unit: UnitStatus, bad: BadCommit, commit: string): void {
  const problem = unit.problems.find(({ severity }) => severity === Severity.SEVERITY_ERROR);
  expect(problem).toMatchObject({ reason: bad.reason, file: bad.file, line: bad.line, commitId: commit });
  expect(problem?.message).toMatch(bad.message);
  expect(problem?.object).toContain(bad.object ?? '');
}

describe('a commit with a bad configuration', () => {
  const twice = (): string => repository.configuration().replace(/( {4}- .*\n)/, '$1$1');
  const cases = [
    {
      title: 'an unknown key, and no units,',
      text: () => 'gitops:\n  manifest_projects: []\nsurplus: true\n',
      line: 3,
      message: /surplus/,
    },
    {
      title: 'an unknown key of a unit',
      text: () => repository.configuration().replace('{"name"', '{"colour":"blue","name"'),
      line: 3,
      message: /colour/,
    },
    {
      title: 'two units with one name',
      text: twice,
      line: 3,
      message: /the name "app" is also that of gitops\.manifest_projects\[1\]; give each unit a name of its own/,
    },
  ];

  it.each(cases)(
    '$title is refused with file and line; the last good one stays in force',
    async ({ text, line: at, message }) => {
      const before = await line.footprint();
      const commit = await repository.push({ [repository.configFile]: text() });
      const failed = await line.inPhase('', Phase.PHASE_FAILED, commit);
      const problem = failed.problems[0] as SourceProblem;
      expect(problem).toMatchObject({ severity: Severity.SEVERITY_ERROR, file: repository.configFile, line: at });
      expect(problem.message).toMatch(message);
      expect(failed.message).toContain(`${repository.configFile}:${at}`);
      await kasLogs('"Sync source failed"', commit, `"line":${at}`, `"file":"${repository.configFile}"`);
      await line.inPhase('app', Phase.PHASE_SYNCED, commit);
      expect(await line.footprint()).toEqual(before);

      const fix = await repository.push({ [repository.configFile]: repository.configuration() });
      await line.inPhase('app', Phase.PHASE_SYNCED, fix);
      await waitUntil(async () => (await line.units()).every(({ unit }) => unit !== ''), {
        what: 'the configuration to be good',
      });
      expect(await line.footprint()).toEqual(before);
    },
  );
});

describe('a unit without anything to apply', () => {
  it('by a glob that matches nothing is warned of, and nothing is pruned', async () => {
    await line.inPhase('globbed', Phase.PHASE_SYNCED, await repository.addUnit('globbed', { 'a.yaml': configMap('globbed') }));
    const before = await line.footprint();
    const commit = await repository.addUnit('globbed', {}, { paths: [{ glob: '/globed/**' }] });
    const failed = await line.inPhase('globbed', Phase.PHASE_FAILED, commit);
    expect(failed.reason).toBe('NothingToApply');
    expect(failed.message).toMatch(/Nothing is removed for that: to remove objects leave at least one, or/);
    const warning = failed.problems.find(({ severity }) => severity === Severity.SEVERITY_WARNING);
    expect(warning?.reason).toBe('GlobMatchesNothing');
    expect(warning?.message).toMatch(
      /the glob "\/globed\/\*\*" matches no file: there is no folder "globed".*correct the glob, or commit the files/,
    );
    await kasLogs('"Sync source warning"', commit, '"reason":"GlobMatchesNothing"');
    expect(await line.footprint()).toEqual(before);

    await line.inPhase('globbed', Phase.PHASE_SYNCED, await repository.addUnit('globbed', {}));
    // The same when the files leave instead: the folder was moved away.
    const moved = await repository.push({ 'globbed/a.yaml': undefined });
    expect((await line.inPhase('globbed', Phase.PHASE_FAILED, moved)).reason).toBe('NothingToApply');
    expect(await line.footprint()).toEqual(before);
    await line.inPhase('globbed', Phase.PHASE_SYNCED, await repository.push({ 'globbed/a.yaml': configMap('globbed') }));
    expect(await line.footprint()).toEqual(before);
  });

  it('in one of its paths is warned of, and nothing is pruned until the path is right or gone', async () => {
    const [a, b] = [{ glob: '/part/a/**' }, { glob: '/part/b/**' }];
    const files = { 'a/a.yaml': configMap('part-a'), 'b/b.yaml': configMap('part-b') };
    await line.inPhase('part', Phase.PHASE_SYNCED, await repository.addUnit('part', files, { paths: [a, b] }));
    const before = await line.footprint();
    const mistaken = await repository.addUnit('part', {}, { paths: [a, { glob: '/part/bb/**' }] });
    const warned = await line.inPhase('part', Phase.PHASE_SYNCED, mistaken);
    expect(warned).toMatchObject({ reason: 'IncompleteSource', problems: [{ reason: 'GlobMatchesNothing' }] });
    expect(await line.footprint()).toEqual(before);

    await line.inPhase('part', Phase.PHASE_SYNCED, await repository.addUnit('part', {}, { paths: [a] }));
    // kas may have seen the commit, with the paths as they were, before it saw the configuration in it.
    const removed = async (): Promise<readonly string[]> => {
      const after = await line.footprint();
      return before.filter((entry) => !after.includes(entry));
    };
    await waitUntil(async () => (await removed()).length > 0, { what: 'objects of the path that left to be pruned' });
    expect(await removed()).toEqual([expect.stringContaining('part-b')]);
  });

  it('by an empty repository is told to push; the first commit is live', async () => {
    const before = await line.footprint();
    await repository.addUnit('empty', {}, { id: EMPTY_PROJECT, paths: [{ glob: '**/*.yaml' }] });
    const failed = await line.unit('empty', ({ phase }) => phase === Phase.PHASE_FAILED, 'Failed');
    expect(failed).toMatchObject({ reason: 'EmptyRepository', project: EMPTY_PROJECT });
    expect(failed.message).toMatch(/repository is empty: push a commit to it/);
    await kasLogs('"Sync source failed"', EMPTY_PROJECT, '"reason":"EmptyRepository"');
    expect(await line.footprint()).toEqual(before);

    const copy = await line.clone(EMPTY_PROJECT);
    await copy.write('first.yaml', configMap('first-of-all', { is: 'applied' }));
    await line.inPhase('empty', Phase.PHASE_SYNCED, await copy.commitAndPush('First'));
    expect(await config('first-of-all')).toEqual({ is: 'applied' });
  });

  it('by a branch that was deleted names it and the branches there are; nothing is pruned', async () => {
    await repository.copy.git.raw(['push', '--quiet', 'origin', 'HEAD:refs/heads/release']);
    const branch = await line.clone(undefined, 'release');
    await branch.write('released/a.yaml', configMap('released'));
    const commit = await branch.commitAndPush('Release');
    await repository.addUnit('released', {}, { ref: { branch: 'release' } });
    await line.inPhase('released', Phase.PHASE_SYNCED, commit);
    const before = await line.footprint();
    await branch.git.raw(['push', '--quiet', '--delete', 'origin', 'release']);
    const failed = await line.unit('released', ({ phase }) => phase === Phase.PHASE_FAILED, 'Failed');
    expect(failed.reason).toBe('RefNotFound');
    expect(failed.message).toBe('Branch "release" does not exist. The repository has the branches main.');
    await kasLogs('"Sync source failed"', '"unit":"released"', '"reason":"RefNotFound"');
    expect(await line.footprint()).toEqual(before);

    await branch.push();
    await line.inPhase('released', Phase.PHASE_SYNCED, commit);
    expect(await line.footprint()).toEqual(before);
  });
});

describe('an agent that may not come in', () => {
  it('with a wrong token says what to check and goes on asking; with the right one it is in', async () => {
    const { agentk, files } = line.stack;
    await agentk.stop();
    const before = await line.footprint();
    const tokenFile = join(files.directory, 'other-token');
    await writeFile(tokenFile, 'kasagent-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', { mode: 0o600 });
    const toKas = ['--kas-address', `grpc://${line.addresses.kasAgents}`, '--token-file', tokenFile];
    const toCluster = ['--kubeconfig', cluster.kubeconfigPath, '--namespace', line.agentNamespace];
    await using agent = await startProgram('agentk/main.ts', [...toKas, ...toCluster]);
    const refused = await agent.waitForLine(/kas refused the agent/);
    expect(JSON.parse(refused)).toMatchObject({
      level: 'error',
      msg: 'kas refused the agent: check that the token file holds a token of a registered agent',
      detail: expect.stringContaining('The agent token is not known.') as string,
    });
    expect(agent.lines.join('\n')).not.toContain('AAAAAAAA');
    await agent.waitForLine(/kas refused the agent/, 10_000, agent.lines.length);
    expect((await line.units()).map(({ agentConnected }) => agentConnected)).not.toContain(true);
    expect(await line.footprint()).toEqual(before);

    await writeFile(tokenFile, await readFile(files.agentToken));
    await agent.waitForLine(/"msg":"Connected to kas"/);
    await agent.stop();
    await agentk.start();
    await line.unit('app', ({ phase, agentConnected }) => phase === Phase.PHASE_SYNCED && agentConnected, 'Synced again');
    expect(await line.footprint()).toEqual(before);
  });

  it('is made no token when the registry does not know it', async () => {
    const args = ['kas/main.ts', 'token', 'create', '--registry', line.stack.files.registry, '--agent', 'stranger'];
    const failure = await promisify(execFile)(process.execPath, args, { cwd: CHECKOUT }).catch((error: Error) => error);
    expect(failure).toMatchObject({ code: 1, stdout: '' });
    expect((failure as Error & { stderr: string }).stderr).toContain(
      `has no agent "stranger" (it has ${line.agent.name}): add it to agents first.`,
    );
  });

  it('since it left the registry is sent away at once, and taken back with it; nothing is pruned meanwhile', async () => {
    const { agentk, files, api } = line.stack;
    const before = await line.footprint();
    const registry = await readFile(files.registry, 'utf8');
    const from = agentk.lines.length;
    await writeFile(
      files.registry,
      registry.replace(/^agents:\n(?: .*\n)*/m, 'agents: []\n').replaceAll(/^ {4}agents: .*\n/gm, ''),
    );
    const refused = await agentk.waitForLine(/kas refused the agent/, 10_000, from);
    expect(refused).toContain('The agent token is not known.');
    const never = new AbortController().signal;
    await waitUntil(async () => (await api.connectedAgents(never)).length === 0, { what: 'the agent to be gone' });
    expect(await line.footprint()).toEqual(before);

    await writeFile(files.registry, registry);
    await line.unit('app', ({ phase, agentConnected }) => phase === Phase.PHASE_SYNCED && agentConnected, 'Synced again');
    expect(await line.footprint()).toEqual(before);
  });
});
