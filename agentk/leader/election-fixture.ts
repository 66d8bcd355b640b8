import { Writable } from 'node:stream';
import { aborted } from '../../lib/abort.ts';
import { createLogger } from '../../lib/log.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { loadKubeConfig } from '../kube/kube-config.ts';
import { KubeLeaseStore } from './kube-lease-store.ts';
import { LeaderElection } from './leader-election.ts';
import { leaseTimings } from './lease-timings.ts';
import type { Term } from './term.ts';

export interface CandidateOptions {
  readonly kubeconfig: string;
  readonly namespace: string;
  readonly identity: string;
  readonly durationMs?: number;
  readonly fingerprint?: string;
  /** Gets `<identity> leads` and `<identity> stops`, in order. */
  readonly events?: string[];
}

/** One that competes for the Lease `agentk` until it is disposed of. */
export class Candidate implements AsyncDisposable {
  readonly terms: Term[] = [];
  readonly identity: string;
  readonly #events: string[];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #log = '';

  constructor(options: CandidateOptions) {
    this.identity = options.identity;
    this.#events = options.events ?? [];
    this.#running = this.#run(options);
    this.#running.catch(() => undefined);
  }

  get term(): Term | undefined {
    return this.terms.at(-1);
  }

  get leads(): boolean {
    return this.term !== undefined && !this.term.lost.aborted;
  }

  get logged(): string {
    return this.#log;
  }

  async untilLeads(times = 1, timeoutMs = 30_000): Promise<void> {
    const what = `${this.identity} to lead ${times} times; it said ${this.#log}`;
    await waitUntil(() => this.leads && this.terms.length >= times, { what, timeoutMs, intervalMs: 10 });
  }

  async untilLogs(text: string): Promise<void> {
    await waitUntil(() => this.#log.includes(text), { what: `"${text}" in ${this.#log}`, timeoutMs: 30_000, intervalMs: 10 });
  }

  /** As SIGTERM does: it leads no more, then releases. */
  async stop(): Promise<void> {
    this.#stop.abort(new DOMException('The test stops it', 'AbortError'));
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run({ kubeconfig, namespace, identity, durationMs = 3_000, fingerprint = 'same' }: CandidateOptions): Promise<void> {
    const sink = new Writable({
      write: (chunk, _encoding, done) => {
        this.#log += String(chunk);
        done();
      },
    });
    const log = createLogger('test', 'debug', sink);
    await using store = new KubeLeaseStore({ access: loadKubeConfig({ kubeconfig }), namespace, name: 'agentk', log });
    const election = new LeaderElection({ store, identity, fingerprint, timings: leaseTimings(durationMs), log });
    await election.run(async (term) => {
      this.terms.push(term);
      this.#events.push(`${identity} leads`);
      await aborted(AbortSignal.any([this.#stop.signal, term.lost]));
      this.#events.push(`${identity} stops`);
    }, this.#stop.signal);
  }
}
