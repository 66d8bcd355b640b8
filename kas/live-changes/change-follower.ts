import { AbortScope, sleep } from '../../lib/abort.ts';
import { Backoff, type BackoffOptions } from '../../lib/backoff.ts';
import { isAbort, toError, UserError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { ObjectCachePolicy } from '../../lib/object-cache-policy.ts';
import {
  type ListSelectionsResponse,
  ObjectCacheService,
  type ObjectChange,
  ObjectChange_Type,
  type Selection,
} from '../../proto/gen/kas/agent/v1/object_cache.ts';
import { type AgentRequests, callAgentMethod } from '../agent-services/agent-call.ts';
import { ChangeFeed, type ChangeRate, reset } from './change-feed.ts';
import { kindName, type LiveChange } from './live-change.ts';
import type { LiveChangeLog } from './live-change-log.ts';

export interface ChangeFollowerDeps {
  readonly agents: AgentRequests;
  readonly changes: LiveChangeLog;
  readonly rate: ChangeRate;
  /** Waits between looks at what an agent keeps; `LOOKS` when absent. */
  readonly looks?: BackoffOptions;
  readonly log: Logger;
}

/**
 * How often it is looked which kinds the agent keeps by now: soon after something changed, ever more seldom while nothing does,
 * since each look is a request into the cluster. What ended is followed again at the next.
 */
export const LOOKS: BackoffOptions = {
  initialMs: 2_000,
  maxMs: 60_000,
  factor: 2,
  jitter: 0.2,
  resetAfterMs: Number.POSITIVE_INFINITY,
};
const CALL_TIMEOUT_MS = 30_000;

const TYPES: Readonly<Record<number, LiveChange['type']>> = {
  [ObjectChange_Type.TYPE_ADDED]: 'added',
  [ObjectChange_Type.TYPE_MODIFIED]: 'modified',
  [ObjectChange_Type.TYPE_DELETED]: 'deleted',
};

/** Follows the agents whose sessions are here, and puts into the log what they send on. */
export class ChangeFollowers {
  readonly #deps: ChangeFollowerDeps;
  /** Where to go on, by agent and kind: an agent that comes back has missed nothing. */
  readonly #versions = new Map<number, Map<string, string>>();

  constructor(deps: ChangeFollowerDeps) {
    this.#deps = deps;
  }

  /** For a session: told of each configuration, it follows what that wants until `signal` fires. */
  follow(agentId: number, signal: AbortSignal): { configure(policy: ObjectCachePolicy): void } {
    let current: { readonly scope: AbortScope; readonly follower: AgentFollower } | undefined;
    return {
      configure: ({ selections }) => {
        if (!selections.some(({ stream }) => stream)) {
          current?.scope[Symbol.dispose]();
          current = undefined;
          this.#versions.delete(agentId);
        } else if (current === undefined) {
          const follower = new AgentFollower(this.#deps, agentId, this.#versionsOf(agentId));
          current = { scope: new AbortScope(signal), follower };
          void follower.run(current.scope.signal);
        } else current.follower.lookSoon();
      },
    };
  }

  #versionsOf(agentId: number): Map<string, string> {
    const known = this.#versions.get(agentId) ?? new Map<string, string>();
    this.#versions.set(agentId, known);
    return known;
  }
}

class AgentFollower {
  readonly #deps: ChangeFollowerDeps;
  readonly #agentId: number;
  readonly #versions: Map<string, string>;
  readonly #feed: ChangeFeed;
  readonly #followed = new Map<string, AbortScope>();
  readonly #looks: Backoff;
  /** Ends the wait for the next look. */
  #wake: () => void = () => undefined;

  constructor(deps: ChangeFollowerDeps, agentId: number, versions: Map<string, string>) {
    this.#deps = deps;
    this.#agentId = agentId;
    this.#versions = versions;
    this.#looks = new Backoff(deps.looks ?? LOOKS);
    this.#feed = new ChangeFeed(agentId, deps.changes, deps.rate);
  }

  /** Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#forgetWaiting(), { once: true });
    void this.#feed.run(signal);
    let troubled = false;
    let before = '';
    while (!signal.aborted) {
      try {
        const { seen, isComplete } = await this.#look(signal);
        if (!isComplete || seen !== before) this.#looks.reset();
        before = seen;
        troubled = false;
      } catch (error) {
        if (isAbort(error, signal)) return;
        if (!troubled) this.#deps.log.warn('Cannot follow live changes', { agentId: this.#agentId, err: toError(error) });
        troubled = true;
      }
      await this.#rest(signal);
    }
  }

  /** Something has changed, or ended. */
  lookSoon(): void {
    this.#looks.reset();
    this.#wake();
  }

  async #rest(signal: AbortSignal): Promise<void> {
    using scope = new AbortScope(signal);
    let woken = false;
    this.#wake = () => {
      woken = true;
      scope.abort(new DOMException('There is something to look at', 'AbortError'));
    };
    await sleep(this.#looks.next(), scope.signal).catch(() => undefined);
    // Not at once: what ended may end again at once.
    if (woken) await sleep(this.#looks.next(), signal).catch(() => undefined);
  }

  /** What was not handed on yet is lost with the session: whoever goes on says so. */
  #forgetWaiting(): void {
    for (const kind of this.#feed.waitingKinds) this.#versions.delete(kind);
  }

  /** Complete once the agent keeps all that it was told to. */
  async #look(signal: AbortSignal): Promise<{ readonly seen: string; readonly isComplete: boolean }> {
    const streamed = (await this.#listSelections(signal)).filter(({ stream }) => stream);
    const selections = streamed.filter(({ version }) => version !== '');
    const wanted = new Map(selections.map((selection) => [kindName(selection), selection]));
    for (const [kind, scope] of this.#followed) {
      if (wanted.has(kind)) continue;
      scope[Symbol.dispose]();
      this.#followed.delete(kind);
      this.#versions.delete(kind);
    }
    for (const [kind, selection] of wanted) if (!this.#followed.has(kind)) this.#start(kind, selection, signal);
    return { seen: [...wanted.keys()].join(), isComplete: selections.length === streamed.length && streamed.length > 0 };
  }

  #start(kind: string, selection: Selection, signal: AbortSignal): void {
    const scope = new AbortScope(signal);
    this.#followed.set(kind, scope);
    void this.#follow(kind, selection, scope.signal).finally(() => {
      scope[Symbol.dispose]();
      if (this.#followed.get(kind) !== scope) return;
      this.#followed.delete(kind);
      this.lookSoon();
    });
  }

  /** Ends with the stream, whatever ended it: the next look, soon, begins again from the last version. */
  async #follow(kind: string, { group, kind: name, version: now }: Selection, signal: AbortSignal): Promise<void> {
    const known = this.#versions.get(kind);
    if (known === undefined) this.#feed.offer(reset(this.#agentId, { group, kind: name }));
    const filter = { group, kind: name, namespace: '', labelSelector: '', fields: [] };
    const request = { filter, version: known ?? now };
    const method = ObjectCacheService.watchObjects;
    try {
      for await (const { changes, version } of callAgentMethod(this.#deps.agents, this.#agentId, { method, request }, signal)) {
        if (signal.aborted) return;
        for (const change of changes) this.#feed.offer(toLiveChange(this.#agentId, group, name, change));
        this.#versions.set(kind, version);
      }
    } catch (error) {
      if (error instanceof UserError && error.reason === 'Expired') this.#versions.delete(kind);
      else if (!isAbort(error, signal))
        this.#deps.log.debug('Following live changes was cut short', { agentId: this.#agentId, kind, err: toError(error) });
    }
  }

  async #listSelections(signal: AbortSignal): Promise<readonly Selection[]> {
    const call = { method: ObjectCacheService.listSelections, request: {} };
    const limit = AbortSignal.any([signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]);
    let response: ListSelectionsResponse | undefined;
    for await (response of callAgentMethod(this.#deps.agents, this.#agentId, call, limit));
    return response?.selections ?? [];
  }
}

function toLiveChange(agentId: number, group: string, kind: string, { type, object }: ObjectChange): LiveChange {
  const { namespace = '', name = '', resourceVersion = '', json = Buffer.from('null') } = object ?? {};
  return {
    agentId,
    type: TYPES[type] ?? 'modified',
    group,
    kind,
    namespace,
    name,
    resourceVersion,
    object: json.toString('utf8'),
  };
}
