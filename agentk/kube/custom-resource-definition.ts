import type { LiveObject } from './cluster.ts';

/** Group and kind that a CustomResourceDefinition brings. */
export function definedKind(definition: LiveObject): { readonly group: string; readonly kind: string } {
  const { group, names } = definition['spec'] as { readonly group: string; readonly names: { readonly kind: string } };
  return { group, kind: names.kind };
}

/** Whether the API server serves what the CustomResourceDefinition brings, or will in a moment. */
export function isEstablished(definition: LiveObject): boolean {
  // A new definition says null.
  const { conditions } = (definition['status'] ?? {}) as {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[] | null;
  };
  return conditions?.some(({ type, status }) => type === 'Established' && status === 'True') ?? false;
}
