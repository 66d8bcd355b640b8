import type { LiveObject } from '../../kube/cluster.ts';

/** Conditions that tell how a deletion goes, by kind. */
const TELLING: Readonly<Record<string, RegExp>> = { Namespace: /^Namespace/, CustomResourceDefinition: /^Terminating$/ };

/** What keeps an object whose deletion was accepted: what its conditions say of that, and its finalizers. */
export function blockerOf({ kind, metadata, spec, status }: Ending): string {
  const conditions = (status as { readonly conditions?: readonly Condition[] } | undefined)?.conditions ?? [];
  const reasons = conditions
    .filter((condition) => condition.status === 'True' && TELLING[kind]?.test(condition.type) === true)
    .map(({ type, message }) => `${type}: ${message ?? ''}`);
  const finalizers = metadata.finalizers ?? (kind === 'Namespace' ? (spec as NamespaceSpec | undefined)?.finalizers : undefined);
  const held = finalizers === undefined || finalizers.length === 0 ? [] : [`held by finalizers ${finalizers.join(', ')}`];
  const all = [...reasons, ...held];
  return all.length === 0 ? 'it ends by itself' : all.join('; ');
}

/** As much of a live object as is known. */
export interface Ending extends Pick<LiveObject, 'kind'> {
  readonly metadata: Pick<LiveObject['metadata'], 'finalizers'>;
  readonly spec?: unknown;
  readonly status?: unknown;
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly message?: string;
}

interface NamespaceSpec {
  readonly finalizers?: readonly string[];
}
