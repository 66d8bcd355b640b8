import type { Desired } from '../desired/desired.ts';
import type { Outcome } from '../plan/tracked-object.ts';

/** Something in the cluster whose change may end a refusal. */
export interface Need {
  readonly group: string;
  readonly kind: string;
  /** Name of the object; for a CRD or an APIService `group|kind` of what it brings; empty where any object of the kind may matter. */
  readonly name: string;
  /** In which the object has to be; empty: in any. */
  readonly namespace: string;
  /** In which what a CRD or an APIService brings is wanted. */
  readonly version: string;
  /** Any change of an object that is there may help, too; otherwise only that there is one. */
  readonly anyChange: boolean;
}

const RBAC = 'rbac.authorization.k8s.io';
const ADMISSION = 'admissionregistration.k8s.io';
const WEBHOOKS: readonly string[] = ['ValidatingWebhookConfiguration', 'MutatingWebhookConfiguration'];
const POLICIES: readonly string[] = ['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'];
const GRANTS: readonly string[] = ['RoleBinding', 'ClusterRoleBinding', 'Role', 'ClusterRole'];

/** What a failed object hangs on and others have to bring or change. Pure. */
export function needsOf({ id, manifest: { version } }: Desired, { action, reason }: Outcome): readonly Need[] {
  if (action !== 'failed' && reason !== 'NotServed') return [];
  const present = (group: string, kind: string, name: string): readonly Need[] => [
    { group, kind, name, namespace: '', version, anyChange: false },
  ];
  const changes = (group: string, kinds: readonly string[], namespace = ''): readonly Need[] =>
    kinds.map((kind) => ({ group, kind, name: '', namespace, version, anyChange: true }));
  switch (reason) {
    case 'NamespaceNotFound':
      return present('', 'Namespace', id.namespace);
    case 'UnknownKind':
    case 'NotServed':
      return [
        ...present('apiextensions.k8s.io', 'CustomResourceDefinition', `${id.group}|${id.kind}`),
        ...present('apiregistration.k8s.io', 'APIService', `${id.group}|${id.kind}`),
      ];
    case 'QuotaExceeded':
      return changes('', ['ResourceQuota'], id.namespace);
    case 'WebhookUnavailable':
      return changes(ADMISSION, WEBHOOKS);
    case 'Denied':
      return changes(ADMISSION, [...WEBHOOKS, ...POLICIES]);
    case 'Forbidden':
      return changes(RBAC, GRANTS);
    default:
      return [];
  }
}
