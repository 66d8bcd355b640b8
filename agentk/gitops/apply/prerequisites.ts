import { isAbort, toError } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Cluster, LiveObject } from '../../kube/cluster.ts';
import type { Desired } from '../desired/desired.ts';
import type { Outcome } from '../plan/tracked-object.ts';
import type { Catalog } from './catalog.ts';

export interface PrerequisitesDeps {
  readonly cluster: Cluster;
  readonly catalog: Catalog;
  /** What the unit hangs on is there now. */
  readonly appeared: (unit: string) => void;
  readonly log: Logger;
}

interface Need {
  readonly group: string;
  readonly kind: string;
  /** Name of the object; or for a CRD `group|kind` of what it defines. */
  readonly name: string;
  /** In which what the CRD defines is wanted. */
  readonly version: string;
}

/**
 * Looks out for what failed objects hang on and others have to bring: a CRD for an unknown kind, a namespace. Watches
 * only while something is missing.
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
    const needs = results.flatMap(({ desired, outcome }) => needOf(desired, outcome));
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
      for await (const event of this.#deps.cluster.watch(type, {}, signal)) {
        if (event.type === 'ADDED' || event.type === 'MODIFIED') this.#offer(group, kind, event.object);
      }
    };
    follow().catch((error: unknown) => {
      if (isAbort(error, signal)) return;
      this.#watches.delete(key);
      this.#deps.log.debug('Cannot look out for what is missing', { kind, err: toError(error) });
    });
  }

  #offer(group: string, kind: string, object: LiveObject): void {
    const name = kind === 'Namespace' ? object.metadata.name : definedKind(object);
    for (const [unit, needs] of this.#needs) {
      const met = needs.find((need) => need.group === group && need.kind === kind && need.name === name);
      if (met === undefined) continue;
      this.#needs.delete(unit);
      void this.#usable(met).then(
        () => this.#deps.appeared(unit),
        () => undefined,
      );
    }
  }

  /** An Established kind is served a moment later. */
  async #usable({ kind, name, version }: Need): Promise<void> {
    if (kind === 'Namespace') return;
    const [group = '', defined = ''] = name.split('|');
    await this.#deps.catalog.whenServed({ group, kind: defined, namespace: '', name: '' }, version, this.#signal);
  }
}

function needOf({ id, manifest: { version } }: Desired, { action, reason }: Outcome): readonly Need[] {
  if (action !== 'failed') return [];
  if (reason === 'NamespaceNotFound') return [{ group: '', kind: 'Namespace', name: id.namespace, version }];
  if (reason !== 'UnknownKind' && reason !== 'NotServed') return [];
  return [{ group: 'apiextensions.k8s.io', kind: 'CustomResourceDefinition', name: `${id.group}|${id.kind}`, version }];
}

/** Empty until the CRD is Established. */
function definedKind(crd: LiveObject): string {
  const spec = crd['spec'] as { group: string; names: { kind: string } };
  const status = crd['status'] as { conditions?: readonly { type: string; status: string }[] } | undefined;
  const established = status?.conditions?.some((condition) => condition.type === 'Established' && condition.status === 'True');
  return established === true ? `${spec.group}|${spec.names.kind}` : '';
}
