import { WindowBudget } from '../../lib/flow-control.ts';
import { createLogger } from '../../lib/log.ts';
import { NO_OBJECT_CACHE } from '../../lib/object-cache-policy.ts';
import { ObjectCacheService, ObjectChange_Type } from '../../proto/gen/kas/agent/v1/object_cache.ts';
import type { ServeRequest, ServeResponse } from '../../proto/gen/kas/agent/v1/tunnel.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import type { AgentRequests } from '../agent-services/agent-call.ts';
import { AgentRequest } from '../tunnel/agent-request.ts';
import { RoundTrip } from '../tunnel/round-trip.ts';
import { ChangeFollowers, LOOKS } from './change-follower.ts';
import type { LiveChange } from './live-change.ts';
import { MemoryLiveChangeLog } from './memory-live-change-log.ts';

const { listSelections, watchObjects } = ObjectCacheService;

/** An agent that keeps Pods, and tells of one more pod per version. */
class FakeAgent implements AgentRequests {
  /** Versions from which it was asked to watch. */
  readonly watchedFrom: string[] = [];
  /** How often it was asked what it keeps. */
  looks = 0;
  #tell: ((message: Buffer) => void) | undefined;
  #end: (() => void) | undefined;

  open(): Promise<AgentRequest> {
    let method = '';
    const tell = (message: ServeRequest['message']): void => queueMicrotask(() => request.receive({ message }));
    const request: AgentRequest = new AgentRequest(
      {
        send: ({ message }: ServeResponse) => {
          if (message?.$case === 'head' && message.value.request?.$case === 'grpc') {
            method = message.value.request.value.method;
            tell({ $case: 'head', value: { status: 200, headers: [] } });
          }
          if (message?.$case === 'data') this.#asked(method, message.value, tell);
        },
        close: () => undefined,
      },
      new WindowBudget(0),
      new RoundTrip(),
    );
    return Promise.resolve(request);
  }

  /** Ends the watch, as when the agent has started anew. */
  endWatch(): void {
    this.#end?.();
  }

  changes(version: string, ...names: readonly string[]): void {
    const changes = names.map((name) => ({
      type: ObjectChange_Type.TYPE_MODIFIED,
      object: { namespace: 'n', name, uid: name, resourceVersion: '1', json: Buffer.from('{}') },
    }));
    this.#tell?.(watchObjects.responseSerialize({ changes, version, synced: false }));
  }

  #asked(method: string, data: Buffer, tell: (message: ServeRequest['message']) => void): void {
    if (method === watchObjects.path) {
      this.watchedFrom.push(watchObjects.requestDeserialize(data).version);
      this.#tell = (message) => tell({ $case: 'data', value: message });
      this.#end = () => tell({ $case: 'end', value: { trailers: [], grpcStatus: 0, grpcMessage: '' } });
      return;
    }
    this.looks += 1;
    const pods = { group: '', kind: 'Pod', namespaces: [], objects: 0n, problem: '', version: 'e.1', stream: true };
    tell({ $case: 'data', value: listSelections.responseSerialize({ selections: [pods], usedBytes: 0n }) });
    tell({ $case: 'end', value: { trailers: [], grpcStatus: 0, grpcMessage: '' } });
  }
}

class Witness extends MemoryLiveChangeLog {
  readonly lines: string[] = [];

  override append(changes: readonly LiveChange[]): Promise<void> {
    this.lines.push(...changes.map(({ type, name }) => `${type} ${name}`.trim()));
    return Promise.resolve();
  }
}

function open(atOnce: number, looks = LOOKS): { agent: FakeAgent; changes: Witness; connect: () => AbortController } {
  const agent = new FakeAgent();
  const changes = new Witness();
  const rate = { perSecond: 0.001, atOnce };
  const followers = new ChangeFollowers({ agents: agent, changes, rate, looks, log: createLogger('test', 'error') });
  const stream = { group: '', kind: 'Pod', namespaces: [], labelSelector: '', fieldSelector: '', fields: [], stream: true };
  const connect = (): AbortController => {
    const session = new AbortController();
    followers.follow(1, session.signal).configure({ ...NO_OBJECT_CACHE, selections: [stream] });
    return session;
  };
  return { agent, changes, connect };
}

it('goes on in the next session where the last one ended', async () => {
  const { agent, changes, connect } = open(100);
  const first = connect();
  await waitUntil(() => agent.watchedFrom.length === 1, { what: 'the first watch' });
  agent.changes('e.2', 'a');
  await waitUntil(() => changes.lines.length === 2, { what: 'the change' });
  first.abort();
  const second = connect();
  await waitUntil(() => agent.watchedFrom.length === 2, { what: 'the second watch' });
  agent.changes('e.3', 'b');
  await waitUntil(() => changes.lines.length === 3, { what: 'the next change' });
  second.abort();
  expect(agent.watchedFrom).toEqual(['e.1', 'e.2']);
  expect(changes.lines).toEqual(['reset', 'modified a', 'modified b']);
});

it('has followers list again when changes waited for their turn as the session ended', async () => {
  const { agent, changes, connect } = open(2);
  const first = connect();
  await waitUntil(() => agent.watchedFrom.length === 1, { what: 'the first watch' });
  agent.changes('e.2', 'a');
  await waitUntil(() => changes.lines.length === 2, { what: 'all that the rate allows' });
  agent.changes('e.3', 'b', 'c');
  // Whatever has to be done to read them is done before this.
  await new Promise((resolve) => setImmediate(resolve));
  first.abort();
  const second = connect();
  await waitUntil(() => changes.lines.length === 3, { what: 'what the second session says' });
  second.abort();
  expect(changes.lines).toEqual(['reset', 'modified a', 'reset']);
  expect(agent.watchedFrom).toEqual(['e.1', 'e.1']);
});

it('asks an agent ever more seldom what it keeps, and soon again when a watch ends', async () => {
  // The third look by the clock would come after hours.
  const { agent, connect } = open(100, { ...LOOKS, initialMs: 20, factor: 1_000_000, maxMs: 20_000_000 });
  const session = connect();
  await waitUntil(() => agent.looks === 2, { what: 'the second look' });
  expect(agent.watchedFrom).toHaveLength(1);
  agent.endWatch();
  await waitUntil(() => agent.watchedFrom.length === 2, { what: 'the second watch' });
  session.abort();
});
