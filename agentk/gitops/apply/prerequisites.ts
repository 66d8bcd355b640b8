import { sleep } from '../../../lib/abort.ts';
import { isAbort, toError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Cluster, LiveObject } from '../../kube/cluster.ts';
import { definedKind, isEstablished } from '../../kube/custom-resource-definition.ts';
import type { Desired } from '../desired/desired.ts';
import { apiServiceHealth } from '../health/rules/api-service.ts';
import type { Outcome } from '../plan/tracked-object.ts';
import type { Catalog } from './catalog.ts';
import { type Need, needsOf } from './remedies.ts';

export interface PrerequisitesDeps {
  readonly cluster: Cluster;
  readonly catalog: Catalog;
  /** What the unit hangs on is there now. */
  readonly appeared: (unit: string) => void;
  readonly log: Logger;
}

/** API servers obey changed grants, webhooks and policies a moment after they are written. */
const OBEYED_AFTER_MS = 2_000;

/**
 * Looks out for what failed objects hang on and others have to bring or change: a CRD for an unknown kind, a namespace, a
 * quota, a webhook, a grant. Watches only while an object is refused for it.
 */
export class Prerequisites {
  readonly #deps: PrerequisitesDeps;
  readonly #signal: AbortSignal;
  readonly #needs = new Map<string, readonly Need[]>();
  readonly #watches = new Map<string, AbortController>();

  constructor(deps: PrerequisitesDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
  }

  /** What the unit's newest sync found missing; replaces what it missed before. */
  await(unit: string, results: readonly { readonly desired: Desired; readonly outcome: Outcome }[]): void {
    const needs = results.flatMap(({ desired, outcome }) => needsOf(desired, outcome));
    if (needs.length === 0) this.#needs.delete(unit);
    else this.#needs.set(unit, needs);
    const kinds = new Set([...this.#needs.values()].flat().map(({ group, kind }) => `${group}|${kind}`));
    for (const [kind, watch] of this.#watches) {
      if (kinds.has(kind)) continue;
      watch.abort(new DOMException('Nothing is missing any more', 'AbortError'));
      this.#watches.delete(kind);
    }
    for (const kind of kinds) if (!this.#watches.has(kind)) this.#watch(kind);
  }

  forget(unit: string): void {
    this.await(unit, []);
  }

  #watch(key: string): void {
    const [group = '', kind = ''] = key.split('|');
    const type = this.#deps.cluster.resourceType(group, kind);
    if (type === undefined) return;
    const controller = new AbortController();
    this.#watches.set(key, controller);
    const signal = AbortSignal.any([controller.signal, this.#signal]);
    const follow = async (): Promise<void> => {
      let synced = false;
      for await (const event of this.#deps.cluster.watch(type, {}, signal)) {
        if (event.type === 'SYNCED') synced = true;
        else this.#offer({ group, kind }, event.object, { gone: event.type === 'DELETED', news: synced });
      }
    };
    follow().catch((error: unknown) => {
      if (isAbort(error, signal)) return;
      this.#watches.delete(key);
      this.#deps.log.debug('Cannot look out for what is missing', { kind, err: toError(error) });
    });
  }

  #offer(type: Kind, object: LiveObject, how: { readonly gone: boolean; readonly news: boolean }): void {
    for (const [unit, needs] of this.#needs) {
      const met = needs.find((need) => need.group === type.group && need.kind === type.kind && isMet(need, object, how));
      if (met === undefined) continue;
      if (met.kind === 'APIService' && !how.news) {
        void this.#lookOnce(unit, met);
        continue;
      }
      this.#needs.delete(unit);
      void this.#usable(met).then(
        () => this.#deps.appeared(unit),
        () => undefined,
      );
    }
  }

  /** The group was there before somebody looked out for it: it may be without the kind for ever. */
  async #lookOnce(unit: string, { name, version }: Need): Promise<void> {
    const { catalog, appeared } = this.#deps;
    const [group = '', kind = ''] = name.split('|');
    await catalog.refresh(this.#signal).catch(() => undefined);
    if (catalog.resourceType(group, kind, version) !== undefined) appeared(unit);
  }

  /** An Established kind is served a moment later. */
  async #usable({ kind, name, version, anyChange }: Need): Promise<void> {
    if (anyChange) await sleep(OBEYED_AFTER_MS, this.#signal);
    if (kind !== 'CustomResourceDefinition' && kind !== 'APIService') return;
    const [group = '', defined = ''] = name.split('|');
    await this.#deps.catalog.whenServed({ group, kind: defined, namespace: '', name: '' }, version, this.#signal);
  }
}

type Kind = Pick<Need, 'group' | 'kind'>;

function isMet(need: Need, object: LiveObject, { gone, news }: { readonly gone: boolean; readonly news: boolean }): boolean {
  if (need.anyChange) return news && (need.namespace === '' || need.namespace === object.metadata.namespace);
  if (gone) return false;
  if (need.kind === 'APIService') return brings(object, need);
  return need.name === (need.kind === 'Namespace' ? object.metadata.name : establishedKind(object));
}

/** Whether the server behind an APIService answers for the group and version. */
function brings(object: LiveObject, { name, version }: Need): boolean {
  const spec = object['spec'] as { group?: string; version?: string; service?: object } | undefined;
  const isWanted = spec?.service !== undefined && spec.version === version && name.startsWith(`${spec.group}|`);
  return isWanted && apiServiceHealth(object).health === 'current';
}

/** Empty until the CRD is Established. */
function establishedKind(crd: LiveObject): string {
  if (!isEstablished(crd)) return '';
  const { group, kind } = definedKind(crd);
  return `${group}|${kind}`;
}
