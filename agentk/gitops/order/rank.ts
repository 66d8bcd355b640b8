import type { ObjectId } from '../../../lib/object-id.ts';

const CONFIG_KINDS: ReadonlySet<string> = new Set(['ServiceAccount', 'ConfigMap', 'Secret', 'LimitRange', 'ResourceQuota']);
const RBAC = 'rbac.authorization.k8s.io';
export const LAST_RANK = 5;

/**
 * What the kinds alone say about order: objects that nobody ordered only ever wait for objects of a lower rank, so their
 * order has no cycles. Prune goes through the ranks backwards.
 * 0 namespaces and CRDs, 1 classes, 2 roles and configuration, 3 bindings, claims and network policies, 4 the rest,
 * 5 what can break requests of others: webhook configurations and APIServices.
 */
export function rank({ group, kind }: ObjectId): number {
  if (kind === 'Namespace' && group === '') return 0;
  if (kind === 'CustomResourceDefinition' && group === 'apiextensions.k8s.io') return 0;
  if (kind.endsWith('Class')) return 1;
  if (group === '' && CONFIG_KINDS.has(kind)) return 2;
  if (group === RBAC) return kind.endsWith('Binding') ? 3 : 2;
  if (group === '' && kind === 'PersistentVolumeClaim') return 3;
  if (group === 'networking.k8s.io' && kind === 'NetworkPolicy') return 3;
  if (kind.endsWith('WebhookConfiguration') && group === 'admissionregistration.k8s.io') return LAST_RANK;
  if (kind === 'APIService' && group === 'apiregistration.k8s.io') return LAST_RANK;
  return 4;
}
