import { AbortScope } from '../../lib/abort.ts';
import { toError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { KubeError } from '../kube/kube-error.ts';
import { HolderWatch } from './holder-watch.ts';
import { instant } from './instant.ts';
import { holderOf, type Lease, type LeaseStore, microTime } from './lease.ts';
import type { LeaseTimings } from './lease-timings.ts';
import { Observation } from './observation.ts';
import { Term } from './term.ts';

export interface LeaderElectionDeps {
  readonly store: LeaseStore;
  /** Of this process; unique among all that compete. */
  readonly identity: string;
  /** Tells agents apart that compete for one lease by mistake: the same for all replicas of one. */
  readonly fingerprint: string;
  readonly timings: LeaseTimings;
  /** Told where this process stands; `unknown` while the Lease cannot be read. */
  readonly onStanding?: (standing: 'leads' | 'waits' | 'unknown') => void;
  readonly log: Logger;
}

/** Annotation of the lease: the holder's fingerprint. */
export const FINGERPRINT = 'kas.gitops/holder-token';

/**
 * Lets one of several processes lead, by a Lease as Kubernetes' own programs use it. States: a candidate looks at the
 * lease until it is free, released, or unchanged for its whole duration by the candidate's own clock. A leader renews it;
 * when it cannot in time, or somebody else has it, its term is lost and it is a candidate again.
 */
export class LeaderElection {
  readonly #deps: LeaderElectionDeps;

  constructor(deps: LeaderElectionDeps) {
    this.#deps = deps;
  }

  /**
   * Calls `lead` with each term, one after the other, until `signal` fires. `lead` ends when `signal` or `term.lost` fires;
   * then the lease is released, unless it was lost. What `lead` throws ends the election, unless the term was lost.
   */
  async run(lead: (term: Term) => Promise<void>, signal: AbortSignal): Promise<void> {
    using watch = new HolderWatch(this.#deps.store, this.#deps.log, signal);
    while (!signal.aborted) {
      const term = await this.#acquire(watch, signal).catch((error: unknown) => {
        if (signal.aborted) return undefined;
        throw error;
      });
      if (term !== undefined) await this.#serve(term, watch, lead);
    }
  }

  async #serve(term: Term, watch: HolderWatch, lead: (term: Term) => Promise<void>): Promise<void> {
    const { log, store } = this.#deps;
    using renewals = new AbortScope(term.lost);
    const renewing = this.#renew(term, watch, renewals.signal);
    this.#deps.onStanding?.('leads');
    term.lost.addEventListener('abort', () => {
      if (renewals.signal.reason !== ENDED)
        log.warn('Lost the lease', { lease: store.name, reason: toError(term.lost.reason).message });
    });
    try {
      await lead(term);
    } catch (error) {
      if (!term.lost.aborted) throw error;
      log.debug('What was led has ended', { detail: toError(error).message });
    } finally {
      this.#deps.onStanding?.('unknown');
      renewals.abort(ENDED);
      await renewing;
      if (!term.lost.aborted) await this.#release(term);
      term[Symbol.dispose]();
    }
  }

  async #acquire(watch: HolderWatch, signal: AbortSignal): Promise<Term> {
    const { store, timings } = this.#deps;
    const observation = new Observation();
    let told = '';
    while (true) {
      try {
        const lease = await store.get(this.#limit(signal));
        const holder = holderOf(lease);
        observation.see(lease, timings.durationMs);
        watch.known = holder;
        if (holder === '' || holder === this.#deps.identity || observation.remainingMs === 0) {
          const term = await this.#claim(lease);
          if (term !== undefined) return term;
        } else if (told !== holder) {
          told = holder;
          this.#deps.onStanding?.('waits');
          this.#tellOfHolder(lease, holder);
        }
      } catch (error) {
        signal.throwIfAborted();
        const reason = toError(error).message;
        if (told !== reason) {
          this.#deps.onStanding?.('unknown');
          this.#tellOfFailure(error);
        }
        told = reason;
      }
      // Candidates that were started together must not always ask together.
      const pauseMs = timings.retryMs * (1 + Math.random() / 5);
      await watch.moved(Math.max(1, Math.min(pauseMs, observation.remainingMs || pauseMs)), signal);
    }
  }

  /** Runs to its end even if nobody wants to lead any more: what may have been taken must be known, to be released. */
  async #claim(lease: Lease | undefined): Promise<Term | undefined> {
    const { store, identity, timings, log } = this.#deps;
    const sentAt = instant();
    const limit = AbortSignal.timeout(this.#attemptMs);
    const claim = this.#claimed(lease);
    const stored = await (lease === undefined ? store.create(claim, limit) : store.replace(claim, limit));
    if (stored === undefined) return undefined;
    log.info('Leads now', { lease: store.name, holder: identity });
    return new Term(stored, sentAt, timings.renewDeadlineMs);
  }

  async #renew(term: Term, watch: HolderWatch, signal: AbortSignal): Promise<void> {
    const { store, identity, timings, log } = this.#deps;
    let failures = 0;
    while (!signal.aborted) {
      watch.known = identity;
      try {
        await watch.moved(failures === 0 ? timings.retryMs : timings.retryMs / 2, signal);
        await this.#renewOnce(term, signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        const fields = { lease: store.name, reason: toError(error).message };
        failures += 1;
        if (failures === 1) log.warn('Cannot renew the lease, will try again', fields);
        else log.debug('Cannot renew the lease, will try again', fields);
      }
    }
  }

  async #renewOnce(term: Term, signal: AbortSignal): Promise<void> {
    const { store, identity, log } = this.#deps;
    while (!signal.aborted) {
      const sentAt = instant();
      const renewed = await store.replace(this.#claimed(term.lease), this.#limit(signal));
      if (renewed !== undefined) return term.renewed(renewed, sentAt);
      const lease = await store.get(this.#limit(signal));
      const holder = holderOf(lease);
      if (lease === undefined) {
        log.warn('The lease was deleted; making it again', { lease: store.name });
        const createdAt = instant();
        const created = await store.create(this.#claimed(undefined), this.#limit(signal));
        if (created !== undefined) return term.renewed(created, createdAt);
      } else if (holder !== identity) {
        return term.lose(holder === '' ? 'somebody has released it' : `${holder} has it`);
      } else {
        term.seen(lease);
      }
    }
  }

  /** Nothing is written any more: others may begin at once. */
  async #release(term: Term): Promise<void> {
    const { store, identity, log } = this.#deps;
    const limit = AbortSignal.timeout(Math.max(1, Math.floor(term.leftMs)));
    try {
      let lease: Lease | undefined = term.lease;
      // A renewal that was given up may have been stored all the same.
      while (lease !== undefined && holderOf(lease) === identity) {
        const { metadata, spec }: Lease = lease;
        const released = { ...spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(new Date()) };
        if ((await store.replace({ metadata, spec: released }, limit)) !== undefined) {
          log.info('Released the lease', { lease: store.name });
          return;
        }
        lease = await store.get(limit);
      }
    } catch (error) {
      log.warn('Cannot release the lease; others wait until it expires', { lease: store.name, reason: toError(error).message });
    }
  }

  /** The lease as ours. */
  #claimed(lease: Lease | undefined): Lease {
    const { identity, fingerprint, timings } = this.#deps;
    const now = microTime(new Date());
    const { spec = {}, metadata = {} } = lease ?? {};
    const isOurs = spec.holderIdentity === identity;
    const transitions = spec.leaseTransitions ?? 0;
    return {
      metadata: { ...metadata, annotations: { ...metadata.annotations, [FINGERPRINT]: fingerprint } },
      spec: {
        ...spec,
        holderIdentity: identity,
        leaseDurationSeconds: timings.durationMs / 1000,
        acquireTime: isOurs ? (spec.acquireTime ?? now) : now,
        renewTime: now,
        leaseTransitions: isOurs || lease === undefined ? transitions : transitions + 1,
      },
    };
  }

  #tellOfHolder(lease: Lease | undefined, holder: string): void {
    const { store, fingerprint, log } = this.#deps;
    const fields = { lease: store.name, holder };
    const other = lease?.metadata.annotations?.[FINGERPRINT];
    if (other === undefined || other === fingerprint) log.info('Waits to lead: another replica does', fields);
    else
      log.warn(
        'Waits to lead: the holder has another token. Different agents need different --lease-name or --namespace',
        fields,
      );
  }

  #tellOfFailure(error: unknown): void {
    const { store, log } = this.#deps;
    const fields = { lease: store.name, reason: toError(error).message };
    if (error instanceof KubeError && error.code === 403) {
      log.error('Not allowed to use leases: grant get, list, watch, create and update, or set --leader-election=false', fields);
    } else log.warn('Cannot compete for the lease, will try again', fields);
  }

  /** A request that hangs must leave time for another. */
  #limit(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, AbortSignal.timeout(this.#attemptMs)]);
  }

  get #attemptMs(): number {
    return Math.floor(this.#deps.timings.renewDeadlineMs / 2);
  }
}

const ENDED = new DOMException('What was led has ended', 'AbortError');
