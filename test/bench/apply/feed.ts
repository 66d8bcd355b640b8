import { randomInt } from 'node:crypto';
import { NO_ACCESS } from '../../../kas/agent-configuration/access-policy.ts';
import type { AgentConfiguration } from '../../../kas/agent-session/agent-configuration.ts';
import type { AgentMessage, KasMessage } from '../../../kas/agent-session/agent-message.ts';
import { bundleParts, type UnitBundle } from '../../../kas/agent-session/bundle-stream.ts';
import { ReportAssembler } from '../../../kas/agent-session/report-assembler.ts';
import { toAgentMessage, toConnectResponse } from '../../../kas/agent-session/session-messages.ts';
import type { Drift, SyncReport } from '../../../kas/sync-status/unit-status.ts';
import { NO_API_ACCESS } from '../../../lib/api-access.ts';
import type { Bundle } from '../../../lib/bundle.ts';
import { GrpcListener } from '../../../lib/grpc/listener.ts';
import { Handlers } from '../../../lib/grpc/serve.ts';
import { createLogger } from '../../../lib/log.ts';
import { NO_OBJECT_CACHE } from '../../../lib/object-cache-policy.ts';
import { DEFAULT_POLICY } from '../../../lib/unit-policy.ts';
import { type ConnectRequest, type ConnectResponse, SessionService } from '../../../proto/gen/kas/agent/v1/session.ts';

const PATIENCE_MS = 600_000;

type Task = { readonly bundle: UnitBundle; readonly sent: (at: number) => void } | 'configuration';

/**
 * kas' end of a session without what lies behind it: hands over configuration and bundles as kas does, as differences to
 * what the agent holds, and hears the agent's reports. One agent at a time.
 */
export class Feed implements AsyncDisposable {
  /** Every feed is for another agent, which manages nothing that an earlier one did. */
  readonly #agentId = randomInt(1, 2 ** 31);
  readonly #stop = new AbortController();
  readonly #listener = new GrpcListener({ name: 'bench feed', address: { host: '127.0.0.1', port: 0 }, graceMs: 0 });
  readonly #bundles = new Map<string, UnitBundle>();
  readonly #reports = new Map<string, SyncReport>();
  readonly #observers = new Set<() => void>();
  readonly drifts: Drift[] = [];
  #units: readonly string[] = [];
  #tasks: Task[] = [];
  #wake: () => void = () => undefined;
  #running: Promise<void> = Promise.resolve();
  address = '';

  static async start(): Promise<Feed> {
    const feed = new Feed();
    const handlers = new Handlers(createLogger('bench', 'error'), feed.#listener.forced);
    const connect = (requests: AsyncIterable<ConnectRequest>): AsyncGenerator<ConnectResponse> => feed.#connect(requests);
    feed.#listener.serve([{ definition: SessionService, handlers: { connect: handlers.bidi(connect) } }]);
    feed.#running = feed.#listener.run(() => undefined, feed.#stop.signal);
    const { host, port } = await feed.#listener.address;
    feed.address = `${host}:${port}`;
    return feed;
  }

  /** From now on the agent has these units. */
  configure(units: readonly string[]): void {
    this.#units = units;
    for (const unit of this.#bundles.keys()) if (!units.includes(unit)) this.#bundles.delete(unit);
    this.#enqueue('configuration');
  }

  /** Resolves when the last byte of it is on its way: milliseconds since the epoch. */
  async deliver(bundle: UnitBundle): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#enqueue({ bundle, sent: resolve });
    return await promise;
  }

  /** The agent's report that it has applied the commit; rejects when an object failed. */
  async finished(unit: string, commitId: string, signal: AbortSignal): Promise<SyncReport> {
    const report = await this.until(() => {
      const newest = this.#reports.get(unit);
      return newest?.commitId === commitId && newest.finishedAt !== undefined ? newest : undefined;
    }, signal);
    if (report.phase === 'failed' || report.phase === 'degraded') throw new Error(`${report.phase}: ${report.message}`);
    return report;
  }

  /** The agent's report that it has applied the newest bundle of the unit. */
  async settled(unit: string, signal: AbortSignal): Promise<SyncReport> {
    return await this.finished(unit, this.#bundles.get(unit)?.commitId ?? '', signal);
  }

  /** Asks whenever the agent has said something, until there is an answer; rejects when there is none for too long. */
  async until<T>(find: () => T | undefined, stopped: AbortSignal): Promise<T> {
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(PATIENCE_MS)]);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const ask = (): void => {
      const found = find();
      if (found !== undefined) resolve(found);
    };
    const giveUp = (): void => reject(signal.reason);
    this.#observers.add(ask);
    signal.addEventListener('abort', giveUp, { once: true });
    ask();
    try {
      return await promise;
    } finally {
      this.#observers.delete(ask);
      signal.removeEventListener('abort', giveUp);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new DOMException('The bench is over', 'AbortError'));
    await this.#running;
  }

  async *#connect(requests: AsyncIterable<ConnectRequest>): AsyncGenerator<ConnectResponse> {
    const held = new Map<string, Bundle>();
    this.#tasks = ['configuration', ...[...this.#bundles.values()].map((bundle) => ({ bundle, sent: () => undefined }))];
    this.#reports.clear();
    void this.#receive(requests).catch(() => undefined);
    yield toConnectResponse({ type: 'welcome', version: 'bench', agentId: this.#agentId, agentName: 'bench' });
    while (true) {
      for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) {
        if (task === 'configuration') yield toConnectResponse(this.#configuration());
        else {
          for (const part of bundleParts(task.bundle, held.get(task.bundle.unit))) yield toConnectResponse(part);
          task.sent(Date.now());
          held.set(task.bundle.unit, task.bundle.bundle);
        }
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
    }
  }

  async #receive(requests: AsyncIterable<ConnectRequest>): Promise<void> {
    const assembler = new ReportAssembler();
    for await (const request of requests) {
      this.#hear(toAgentMessage(request), assembler);
      for (const ask of this.#observers) ask();
    }
  }

  #hear(message: AgentMessage, assembler: ReportAssembler): void {
    if (message.type === 'drift') this.drifts.push(message.drift);
    if (message.type !== 'sync') return;
    const report = assembler.add(message.part);
    if (report !== undefined) this.#reports.set(report.unit, report);
  }

  #configuration(): KasMessage {
    const policy = { ...DEFAULT_POLICY, pruneBudget: { objects: 1_000_000, percent: 100 } };
    const units = this.#units.map((name) => ({ ...policy, name, project: `bench/${name}`, ref: undefined, globs: ['/**'] }));
    const configuration: AgentConfiguration = {
      commitId: 'c'.repeat(40),
      units,
      healthRules: [],
      access: NO_ACCESS,
      httpServices: [],
      apiAccess: NO_API_ACCESS,
      objectCache: NO_OBJECT_CACHE,
      logLevel: 'warn',
    };
    return { type: 'configuration', configuration };
  }

  #enqueue(task: Task): void {
    if (task !== 'configuration') this.#bundles.set(task.bundle.unit, task.bundle);
    this.#tasks.push(task);
    this.#wake();
  }
}
