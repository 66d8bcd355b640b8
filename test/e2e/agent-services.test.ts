import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { credentials, Metadata } from '@grpc/grpc-js';
import { WebSocket } from 'ws';
import { CABLE_PROTOCOL } from '../../kas/live-changes/cable-messages.ts';
import { CABLE_AUDIENCE } from '../../kas/live-changes/cable-server.ts';
import { callServerStream, callUnary } from '../../lib/grpc/call.ts';
import { decodeJwtSecret, signJwt } from '../../lib/jwt.ts';
import { GitopsModuleClient } from '../../proto/gen/kas/agent/v1/gitops_module.ts';
import { ObjectCacheClient, ObjectChange_Type, type Selection } from '../../proto/gen/kas/agent/v1/object_cache.ts';
import {
  LiveChange_Type,
  LiveChangesServiceClient,
  type WatchLiveChangesResponse,
} from '../../proto/gen/kas/api/v1/live_changes.ts';
import { useCluster } from '../harness/cluster.ts';
import { freePort } from '../harness/free-port.ts';
import { WorkingCopy } from '../harness/git.ts';
import { Stack } from '../harness/stack.ts';
import { freeAddresses, type StackAddresses } from '../harness/stack-files.ts';
import { createTempDir, type TempDir } from '../harness/temp-dir.ts';
import { waitUntil } from '../harness/wait-until.ts';

const PROJECT = 'e2e/cache';
const NEVER = new AbortController().signal;

describe('objects of a cluster that the agent keeps', () => {
  const cluster = useCluster();
  const agent = { id: randomInt(1_001, 2 ** 30), name: 'keeper' };
  let directory: TempDir;
  let addresses: StackAddresses;
  let cablePort: number;
  let stack: Stack;
  let namespace: string;
  let objects: ObjectCacheClient;
  let live: LiveChangesServiceClient;

  beforeAll(async () => {
    directory = await createTempDir();
    addresses = await freeAddresses();
    cablePort = await freePort();
    namespace = await cluster.namespace();
    stack = await Stack.open({
      directory: join(directory.path, 'stack'),
      kubeconfig: cluster.kubeconfigPath,
      addresses,
      agent,
      agentNamespace: `agentk-${agent.id}`,
      projects: [PROJECT],
      pollPeriodMs: 60_000,
      notifications: true,
      kasYaml: { top: `live_changes: {cable: {listen: {address: '127.0.0.1:${cablePort}'}}}\n` },
    });
    const copy = await WorkingCopy.clone(stack.cloneUrl, join(directory.path, 'clone'));
    await copy.write(`.gitlab/agents/${agent.name}/config.yaml`, configuration());
    await copy.write('app/managed.yaml', 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: managed}\ndata: {of: git}\n');
    await copy.commitAndPush('Keep objects');
    await stack.agentk.start();
    objects = new ObjectCacheClient(addresses.kasApi, credentials.createInsecure());
    live = new LiveChangesServiceClient(addresses.kasApi, credentials.createInsecure());
    await waitUntil(
      async () => (await selections()).every(({ version }) => version !== '') && (await selections()).length === 2,
      {
        what: 'the objects to be kept',
      },
    );
  });

  afterAll(async () => {
    objects.close();
    live.close();
    await stack[Symbol.asyncDispose]();
    await promisify(execFile)(
      cluster.kubectlPath,
      ['delete', 'namespace', `agentk-${agent.id}`, '--ignore-not-found', '--wait=false'],
      {
        env: { ...process.env, KUBECONFIG: cluster.kubeconfigPath },
      },
    );
    await directory.remove();
  });

  function configuration(): string {
    return `object_cache:
  kinds:
  - kind: ConfigMap
    namespaces: [${namespace}]
    fields: [data.color]
    stream: true
  - kind: Event
    namespaces: [${namespace}]
gitops:
  manifest_projects:
  - name: app
    default_namespace: ${namespace}
    paths: [{glob: 'app/*.yaml'}]
    drift: {policy: report}
`;
  }

  async function secret(): Promise<Uint8Array> {
    return decodeJwtSecret(await readFile(stack.files.apiSecret, 'utf8'), 'api-secret');
  }

  async function metadata(agentId = agent.id): Promise<Metadata> {
    const result = new Metadata();
    result.set('authorization', `Bearer ${await signJwt(await secret(), { issuer: 'gitlab' })}`);
    result.set('kas-agent-id', String(agentId));
    return result;
  }

  async function selections(): Promise<readonly Selection[]> {
    const settings = { metadata: await metadata(), timeoutMs: 20_000 };
    const call = callUnary(objects.listSelections.bind(objects), {}, settings, NEVER);
    return (await call.catch(() => ({ selections: [] }))).selections;
  }

  const filter = () => ({ group: '', kind: 'ConfigMap', namespace, labelSelector: '', fields: [] });

  async function list(): Promise<{ readonly names: string[]; readonly version: string }> {
    const names: string[] = [];
    let version = '';
    const call = callServerStream(objects.listObjects.bind(objects), { filter: filter() }, { metadata: await metadata() }, NEVER);
    for await (const response of call) {
      names.push(...response.objects.map(({ name }) => name));
      version = response.version;
    }
    return { names, version };
  }

  const configMap = async (name: string, color: string): Promise<void> => {
    const manifest = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { color, secret: 'hidden' } };
    await cluster.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(manifest) });
  };

  it('are listed, got and watched through kas', async () => {
    await configMap('paint', 'red');
    await waitUntil(async () => (await list()).names.includes('paint'), { what: 'the object to be listed' });
    const settings = { metadata: await metadata(), timeoutMs: 20_000 };
    const request = { group: '', kind: 'ConfigMap', namespace, name: 'paint', fields: ['data'] };
    const { object } = await callUnary(objects.getObject.bind(objects), request, settings, NEVER);
    expect(JSON.parse(object?.json.toString() ?? '')).toEqual({ data: { color: 'red' } });

    const stop = new AbortController();
    const { version } = await list();
    await configMap('paint', 'blue');
    const watch = callServerStream(
      objects.watchObjects.bind(objects),
      { filter: filter(), version },
      { metadata: await metadata() },
      stop.signal,
    );
    for await (const { changes } of watch) {
      const change = changes.find(({ object: changed }) => changed?.name === 'paint');
      if (change === undefined) continue;
      expect([change.type, change.object?.json.toString()]).toEqual([
        ObjectChange_Type.TYPE_MODIFIED,
        expect.stringContaining('blue'),
      ]);
      break;
    }
    stop.abort();
  });

  it('are compared with Git, and their events followed, by the engine itself', async () => {
    const engine = new GitopsModuleClient(addresses.kasApi, credentials.createInsecure());
    const diff = async (): Promise<readonly string[]> => {
      const lines: string[] = [];
      const call = callServerStream(engine.diffUnit.bind(engine), { unit: 'app' }, { metadata: await metadata() }, NEVER);
      for await (const { commitId, objects: found } of call) {
        expect(commitId).toMatch(/^[0-9a-f]{40}$/);
        for (const { id, fields } of found)
          lines.push(`${id?.name} ${fields.map(({ path, live: there }) => `${path}=${there}`).join()}`);
      }
      return lines;
    };
    await waitUntil(async () => JSON.stringify(await diff()) === '[]', { what: 'the unit to be synced' });
    await cluster.kubectl(['patch', 'configmap', 'managed', '-n', namespace, '--type=merge', '-p', '{"data":{"of":"hand"}}']);
    expect(await diff()).toEqual(['managed .data.of="hand"']);

    const stop = new AbortController();
    const events: string[] = [];
    const call = callServerStream(
      engine.watchEvents.bind(engine),
      { units: ['app'] },
      { metadata: await metadata() },
      stop.signal,
    );
    const watching = (async () => {
      for await (const { event } of call) events.push(`${event?.id?.name} ${event?.reason}`);
    })().catch(() => undefined);
    let number = 0;
    await waitUntil(
      async () => {
        number += 1;
        const involvedObject = { apiVersion: 'v1', kind: 'ConfigMap', name: 'managed', namespace };
        const about = { apiVersion: 'v1', kind: 'Event', metadata: { name: `event-${number}`, namespace }, involvedObject };
        const event = { ...about, reason: 'Tested', type: 'Warning', message: `number ${number}` };
        await cluster.kubectl(['create', '-f', '-'], { stdin: JSON.stringify(event) });
        return events.includes('managed Tested');
      },
      { what: 'an event', intervalMs: 300 },
    );
    await callUnary(engine.resyncUnit.bind(engine), { unit: 'app' }, { metadata: await metadata(), timeoutMs: 20_000 }, NEVER);
    const other = callUnary(
      engine.resyncUnit.bind(engine),
      { unit: 'x' },
      { metadata: await metadata(), timeoutMs: 20_000 },
      NEVER,
    );
    await expect(other).rejects.toMatchObject({ kind: 'not_found', reason: 'NoSuchUnit' });
    stop.abort();
    await watching;
    engine.close();
  });

  it('are refused in words: of kinds that are not kept, agents that are not connected, without an agent, without a token', async () => {
    const get = async (kind: string, data: Metadata): Promise<unknown> =>
      await callUnary(
        objects.getObject.bind(objects),
        { group: '', kind, namespace, name: 'paint', fields: [] },
        { metadata: data, timeoutMs: 20_000 },
        NEVER,
      );
    const notKept = { kind: 'not_found', reason: 'NotKept', message: expect.stringContaining('name it in object_cache') };
    await expect(get('Secret', await metadata())).rejects.toMatchObject(notKept);
    await expect(get('ConfigMap', await metadata(agent.id + 1))).rejects.toMatchObject({ name: 'UnavailableError' });
    const noAgent = await metadata();
    noAgent.remove('kas-agent-id');
    await expect(get('ConfigMap', noAgent)).rejects.toMatchObject({ kind: 'unimplemented' });
    const noToken = await metadata();
    noToken.remove('authorization');
    await expect(get('ConfigMap', noToken)).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  it('leave a line in the log of kas: who called what of which agent, and how it ended', async () => {
    const request = { group: '', kind: 'ConfigMap', namespace, name: 'nobody-has-it', fields: [] };
    const from = stack.kas.lines.length;
    const settings = { metadata: await metadata(), timeoutMs: 20_000 };
    await expect(callUnary(objects.getObject.bind(objects), request, settings, NEVER)).rejects.toMatchObject({
      kind: 'not_found',
    });
    const line = await stack.kas.waitForLine(/"Call of a service of an agent"/, 10_000, from);
    expect(JSON.parse(line)).toMatchObject({
      method: '/kas.agent.v1.ObjectCache/GetObject',
      agentId: agent.id,
      user: 'gitlab',
      status: 'NOT_FOUND',
      durationMs: expect.any(Number),
    });
  });

  it('are sent on as they change, to callers of the API and to pages', async () => {
    const token = await signJwt(await secret(), {
      issuer: 'gitlab',
      audience: CABLE_AUDIENCE,
      claims: { agent_ids: [agent.id] },
    });
    const page = new WebSocket(`ws://127.0.0.1:${cablePort}/cable?token=${token}`, CABLE_PROTOCOL);
    const heard: string[] = [];
    page.on('message', (data: Buffer) => heard.push(data.toString('utf8')));
    await new Promise((resolve) => page.once('open', resolve));
    page.send(
      JSON.stringify({ command: 'subscribe', identifier: JSON.stringify({ channel: 'AgentChannel', agent_id: agent.id }) }),
    );
    await waitUntil(() => heard.some((text) => text.includes('confirm_subscription')), { what: 'the subscription' });

    const stop = new AbortController();
    const responses: WatchLiveChangesResponse[] = [];
    const request = { agentId: BigInt(agent.id), kinds: ['ConfigMap'], cursor: '' };
    const watch = callServerStream(live.watchLiveChanges.bind(live), request, { metadata: await metadata() }, stop.signal);
    const watching = (async () => {
      for await (const response of watch) responses.push(response);
    })().catch(() => undefined);
    await waitUntil(() => responses.length > 0, { what: 'the watch to stand' });

    let turn = 0;
    await waitUntil(
      async () => {
        turn += 1;
        await configMap('sent', `color-${turn}`);
        return responses.some(({ change }) => change?.name === 'sent') && heard.some((text) => text.includes('"sent"'));
      },
      { what: 'the change to arrive', intervalMs: 500 },
    );
    const { change } = responses.find((response) => response.change?.name === 'sent') ?? {};
    expect([LiveChange_Type.TYPE_ADDED, LiveChange_Type.TYPE_MODIFIED]).toContain(change?.type);
    expect(change?.json.toString()).toContain('color-');
    expect(change?.json.toString()).not.toContain('hidden');
    // What they heard is theirs alone: the other kind is not sent on.
    expect(heard.join()).not.toContain('"kind":"Event"');
    stop.abort();
    await watching;
    page.terminate();
  });
});
