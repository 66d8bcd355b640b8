import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Action, Health, Phase } from '../../proto/gen/kas/agent/v1/objects.ts';
import type { UnitStatus } from '../../proto/gen/kas/api/v1/sync_status.ts';
import { useCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Line } from './line.ts';
import { configMap, configMapPath, manifests, type Repository } from './repository.ts';

const EXAMPLES = join(import.meta.dirname, '../../manifests-examples');

const cluster = useCluster();
let line: Line;
let repository: Repository;
let namespace: string;

beforeAll(async () => {
  namespace = await cluster.namespace();
  line = await Line.open({ kubeconfigPath: cluster.kubeconfigPath, kubectlPath: cluster.kubectlPath });
  repository = await line.repository(namespace);
  await repository.push({ [repository.configFile]: repository.configuration() });
  await line.stack.agentk.start();
});

afterAll(async () => {
  await line[Symbol.asyncDispose]();
});

const config = async (name: string, inNamespace = namespace): Promise<unknown> =>
  (await line.cluster.get(configMapPath(inNamespace, name)))?.['data'];

describe.each((await readdir(EXAMPLES, { withFileTypes: true })).filter((entry) => entry.isDirectory()))(
  'the example $name',
  ({ name }) => {
    it('is synced as it stands: every object of its files exists and is well', async () => {
      const directory = join(EXAMPLES, name);
      await using own = await Line.open({
        kubeconfigPath: cluster.kubeconfigPath,
        kubectlPath: cluster.kubectlPath,
        agentName: 'demo',
        projects: [`demo/${name}`],
      });
      const copy = await own.clone();
      await cp(directory, copy.directory, { recursive: true });
      const commit = await copy.commitAndPush('Seed');
      await own.stack.agentk.start();
      const synced = await own.unit(
        name,
        ({ phase, desiredCommitId }) => phase === Phase.PHASE_SYNCED && desiredCommitId === commit,
        'Synced',
        40_000,
      );
      try {
        const folders = (await readdir(directory)).filter((entry) => !entry.startsWith('.') && !entry.includes('.'));
        const files = folders.flatMap((folder) => ['-f', join(directory, folder)]);
        const expected = (await own.kubectl('create', '--dry-run=client', '-o', 'name', '-R', ...files)).trim().split('\n');
        expect(names(synced)).toEqual(expected.toSorted());
        expect(await existing(own, synced)).toEqual(expected.toSorted());
        expect(synced.objects.map(({ health }) => health)).toEqual(expected.map(() => Health.HEALTH_CURRENT));
      } finally {
        await own.stack.agentk.stop();
        await removeAll(own, synced);
      }
    });
  },
);

/** `deployment.apps/web`, as kubectl names objects. */
function names({ objects }: UnitStatus): string[] {
  return objects
    .map(({ id }) => `${[id?.kind.toLowerCase(), id?.group].filter((part) => part !== '').join('.')}/${id?.name}`)
    .toSorted();
}

function byNamespace(unit: UnitStatus): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const object of unit.objects) {
    const key = object.id?.namespace ?? '';
    groups.set(key, [...(groups.get(key) ?? []), ...names({ ...unit, objects: [object] })]);
  }
  return groups;
}

async function existing(own: Line, unit: UnitStatus): Promise<string[]> {
  const found: string[] = [];
  for (const [key, objects] of byNamespace(unit)) {
    const place = key === '' ? [] : ['--namespace', key];
    found.push(...(await own.kubectl('get', '-o', 'name', ...place, ...objects)).trim().split('\n'));
  }
  return found.toSorted();
}

/** What lies in namespaces goes with them. */
async function removeAll(own: Line, unit: UnitStatus): Promise<void> {
  const shared = byNamespace(unit).get('') ?? [];
  if (shared.length > 0) await own.kubectl('delete', '--wait=false', '--ignore-not-found', ...shared);
}

describe('a commit', () => {
  it('that changes a manifest is live at once, and nothing else is written', async () => {
    const first = await repository.addUnit('change', {
      'a.yaml': configMap('change-a', { text: 'one' }),
      'b.yaml': configMap('change-b'),
    });
    const before = await line.inPhase('change', Phase.PHASE_SYNCED, first);
    expect(before.objects.map(({ action }) => action)).toEqual([Action.ACTION_CREATED, Action.ACTION_CREATED]);
    const footprint = await line.footprint();
    const pushed = repository.push({ 'change/a.yaml': configMap('change-a', { text: 'two' }) });
    await line.cluster.until(
      configMapPath(namespace, 'change-a'),
      (live) => JSON.stringify(live?.['data']) === '{"text":"two"}',
      'the change',
      5_000,
    );
    const synced = await line.inPhase('change', Phase.PHASE_SYNCED, await pushed);
    expect(synced.appliedCommitId).toBe(await pushed);
    expect(synced.objects.map(({ id, action }) => [id?.name, action])).toEqual([
      ['change-a', Action.ACTION_CONFIGURED],
      ['change-b', Action.ACTION_UNCHANGED],
    ]);
    const after = await line.footprint();
    expect(after.filter((entry) => !footprint.includes(entry)).map((entry) => entry.split(' ').slice(0, 3))).toEqual([
      ['/api/v1/configmaps', namespace, 'change-a'],
    ]);
  });

  it('that removes a manifest prunes its object and touches no other, be it of Git or not', async () => {
    const files = { 'stays.yaml': configMap('prune-stays'), 'goes.yaml': configMap('prune-goes') };
    await line.inPhase('prune', Phase.PHASE_SYNCED, await repository.addUnit('prune', files));
    await line.kubectl('create', 'configmap', 'prune-foreign', '--namespace', namespace);
    const foreign = async (): Promise<unknown> => (await line.cluster.get(configMapPath(namespace, 'prune-foreign')))?.metadata;
    const foreignBefore = await foreign();
    const footprint = await line.footprint();
    const commit = await repository.push({ 'prune/goes.yaml': undefined });
    const synced = await line.inPhase('prune', Phase.PHASE_SYNCED, commit);
    expect(synced.objects.find(({ id }) => id?.name === 'prune-goes')?.action).toBe(Action.ACTION_PRUNED);
    expect(await line.cluster.get(configMapPath(namespace, 'prune-goes'))).toBeUndefined();
    expect(await line.footprint()).toEqual(footprint.filter((entry) => !entry.includes(' prune-goes ')));
    expect(await foreign()).toEqual(foreignBefore);
  });

  it('that renames a file changes nothing in the cluster, and the status names the new file', async () => {
    await line.inPhase('rename', Phase.PHASE_SYNCED, await repository.addUnit('rename', { 'old.yaml': configMap('renamed') }));
    const footprint = await line.footprint();
    const commit = await repository.push({ 'rename/old.yaml': undefined, 'rename/new.yaml': configMap('renamed') });
    const synced = await line.inPhase('rename', Phase.PHASE_SYNCED, commit);
    expect(synced.appliedCommitId).toBe(commit);
    expect(synced.objects.map(({ source, action }) => [source, action])).toEqual([
      ['rename/new.yaml:1', Action.ACTION_UNCHANGED],
    ]);
    expect(await line.footprint()).toEqual(footprint);
  });

  it('that breaks one unit of a repository does not hold up the other', async () => {
    await repository.addUnit('left', { 'left.yaml': configMap('left', { text: 'one' }) });
    await line.inPhase('right', Phase.PHASE_SYNCED, await repository.addUnit('right', { 'right.yaml': configMap('right') }));
    const commit = await repository.push({
      'left/left.yaml': 'kind: [\n',
      'right/right.yaml': configMap('right', { text: 'two' }),
    });
    await line.inPhase('right', Phase.PHASE_SYNCED, commit);
    await line.inPhase('left', Phase.PHASE_FAILED, commit);
    expect(await config('right')).toEqual({ text: 'two' });
    expect(await config('left')).toEqual({ text: 'one' });
    const fix = await repository.push({ 'left/left.yaml': configMap('left', { text: 'two' }) });
    await line.inPhase('left', Phase.PHASE_SYNCED, fix);
    expect(await config('left')).toEqual({ text: 'two' });
  });

  it('of objects without a namespace puts them into "default" when the unit names none either', async () => {
    const name = `plain-${line.agent.id}`;
    try {
      const commit = await repository.addUnit(
        'plain',
        { 'plain.yaml': configMap(name, { in: 'default' }) },
        { default_namespace: undefined },
      );
      const synced = await line.inPhase('plain', Phase.PHASE_SYNCED, commit);
      expect(synced.objects.map(({ id }) => id?.namespace)).toEqual(['default']);
      expect(await config(name, 'default')).toEqual({ in: 'default' });
    } finally {
      await line.unit('plain', () => true, 'there');
      await repository.dropUnit('plain');
      await waitGone('plain');
      await line.kubectl('delete', 'configmap', name, '--namespace', 'default', '--ignore-not-found');
    }
  });

  it('on another branch is live where a unit follows that branch, and only there', async () => {
    await repository.copy.git.raw(['push', '--quiet', 'origin', 'HEAD:refs/heads/next']);
    const next = await line.clone(undefined, 'next');
    await next.write('branch/b.yaml', configMap('branch', { of: 'next' }));
    const onNext = await next.commitAndPush('Next');
    await repository.addUnit('branch', { 'b.yaml': configMap('branch', { of: 'main' }) }, { ref: { branch: 'next' } });
    const synced = await line.inPhase('branch', Phase.PHASE_SYNCED, onNext);
    expect(synced.ref).toBe('refs/heads/next');
    expect(await config('branch')).toEqual({ of: 'next' });
    await next.write('branch/b.yaml', configMap('branch', { of: 'next', edition: '2' }));
    await line.inPhase('branch', Phase.PHASE_SYNCED, await next.commitAndPush('Next again'));
    expect(await config('branch')).toEqual({ of: 'next', edition: '2' });
  });
});

async function waitGone(unit: string): Promise<void> {
  const gone = async (): Promise<boolean> => (await line.units()).every(({ unit: name }) => name !== unit);
  await waitUntil(gone, { what: `unit "${unit}" to leave the status` });
}

describe('the configuration in Git', () => {
  it('adds and removes units while everything runs; objects of a removed unit stay', async () => {
    const commit = await repository.addUnit('guest', { 'guest.yaml': configMap('guest') });
    await line.inPhase('guest', Phase.PHASE_SYNCED, commit);
    const footprint = await line.footprint();
    await repository.dropUnit('guest');
    await waitGone('guest');
    expect(await line.footprint()).toEqual(footprint);
    // And nobody looks after them any more.
    await line.kubectl('annotate', 'configmap', 'guest', '--namespace', namespace, 'by=hand');
    await line.inPhase('after', Phase.PHASE_SYNCED, await repository.addUnit('after', { 'after.yaml': configMap('after') }));
    expect((await line.cluster.get(configMapPath(namespace, 'guest')))?.metadata.annotations?.['by']).toBe('hand');
  });

  it("sets agentk's log level while it runs", async () => {
    const { agentk } = line.stack;
    await line.inPhase('level', Phase.PHASE_SYNCED, await repository.addUnit('level', { 'a.yaml': configMap('level') }));
    let edition = 0;
    /** Whether agentk's log has a line about the sync of a new commit. */
    const isLogged = async (): Promise<boolean> => {
      edition += 1;
      const commit = await repository.push({ 'level/a.yaml': configMap('level', { edition: String(edition) }) });
      await line.inPhase('level', Phase.PHASE_SYNCED, commit);
      return agentk.lines.some((text) => text.includes('"Sync finished"') && text.includes(commit));
    };
    expect(await isLogged()).toBe(true);
    await repository.setLogLevel('warn');
    await waitUntil(async () => !(await isLogged()), { what: 'a commit that is not logged' });
    expect(await isLogged()).toBe(false);
    const from = agentk.lines.length;
    await repository.setLogLevel('info');
    await agentk.waitForLine(/"msg":"Configuration received"/, 5_000, from);
    expect(await isLogged()).toBe(true);
  });
});

function deployment(name: string, serviceAccountName: string): string {
  return JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      progressDeadlineSeconds: 2,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { serviceAccountName, containers: [{ name: 'main', image: 'registry.example.com/main:1' }] },
      },
    },
  });
}

describe('the sync status', () => {
  it('shows a Deployment whose Pods cannot be created: Progressing, then Degraded, with the reason and the events', async () => {
    const started = await repository.addUnit('sick', {
      'sick.yaml': manifests(`${deployment('sick', 'nobody')}\n`, configMap('well')),
    });
    const progressing = await line.unit('sick', ({ reason }) => reason === 'WaitingForHealth', 'waiting for health');
    expect(progressing.phase).toBe(Phase.PHASE_PROGRESSING);
    expect(progressing.message).toContain('Deployment sick: ');
    const degraded = await line.inPhase('sick', Phase.PHASE_DEGRADED, started);
    expect(degraded.reason).toBe('Unhealthy');
    expect(degraded.message).toMatch(/^Deployment sick: .*progress/i);
    expect(degraded.appliedCommitId).toBe(started);
    const object = (name: string) => degraded.objects.find(({ id }) => id?.name === name);
    expect(object('sick')).toMatchObject({
      health: Health.HEALTH_FAILED,
      action: Action.ACTION_CREATED,
      source: 'sick/sick.yaml:1',
    });
    expect(object('well')?.health).toBe(Health.HEALTH_CURRENT);
    const { events } = await line.unit('sick', (unit) => unit.events.some(({ type }) => type === 'Warning'), 'a Warning event');
    const warning = events.find(({ type }) => type === 'Warning');
    expect(warning).toMatchObject({ unit: 'sick', reason: 'FailedCreate', component: 'replicaset-controller' });
    expect(warning?.id).toMatchObject({ kind: 'ReplicaSet', namespace });
    expect(warning?.message).toContain('serviceaccount "nobody" not found');
    const fix = await repository.push({ 'sick/sick.yaml': manifests(`${deployment('sick', 'default')}\n`, configMap('well')) });
    await line.inPhase('sick', Phase.PHASE_SYNCED, fix);
  });

  it('is what `kas status` shows, as a table and as JSON; exit code 2 when something has failed', async () => {
    const good = await repository.addUnit('shown', { 'a.yaml': configMap('shown-a'), 'b.yaml': configMap('shown-b') });
    await line.inPhase('shown', Phase.PHASE_SYNCED, good);
    const table = await status();
    expect(row(table.stdout, 'shown')).toMatch(new RegExp(`^e2e +shown +Synced +${good.slice(0, 8)} +${good.slice(0, 8)} +2/2 `));
    expect(table.code).toBe(0);

    const bad = await repository.push({ 'shown/b.yaml': 'apiVersion: v1\nmetadata: {name: shown-b}\n' });
    await line.inPhase('shown', Phase.PHASE_FAILED, bad);
    const failed = await status();
    expect(row(failed.stdout, 'shown')).toMatch(
      new RegExp(`^e2e +shown +Failed +${bad.slice(0, 8)} +${good.slice(0, 8)} +2/2 .*MissingKind`),
    );
    expect(failed.stdout).toMatch(/error: shown\/b\.yaml:1: .*no kind; add one/);
    expect(failed.code).toBe(2);

    const json = await status('--output', 'json');
    const units = JSON.parse(json.stdout) as { unit: string; phase: string; desiredCommitId: string; problems?: unknown[] }[];
    expect(units.find(({ unit }) => unit === 'shown')).toMatchObject({ phase: 'PHASE_FAILED', desiredCommitId: bad });
    const known = await line.units();
    expect(units.map(({ unit }) => unit)).toEqual(known.map(({ unit }) => unit));

    await line.inPhase('shown', Phase.PHASE_SYNCED, await repository.push({ 'shown/b.yaml': configMap('shown-b') }));
  });
});

async function status(...options: readonly string[]): Promise<{ readonly stdout: string; readonly code: number }> {
  const args = [
    'kas/main.ts',
    'status',
    '--api',
    line.addresses.kasApi,
    '--secret-file',
    line.stack.files.apiSecret,
    '--agent',
    line.agent.name,
  ];
  const child = spawn(process.execPath, [...args, ...options], {
    cwd: join(import.meta.dirname, '../..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let stdout = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += String(chunk);
  });
  const [code] = (await once(child, 'close')) as [number];
  return { stdout, code };
}

function row(table: string, unit: string): string {
  return table.split('\n').find((text) => text.split(/ {2,}/)[1] === unit) ?? table;
}
