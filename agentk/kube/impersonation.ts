import type { OutgoingHttpHeaders } from 'node:http2';
import type { Impersonation } from './cluster.ts';

/**
 * Without groups: the API server knows those of a service account, and impersonating groups by name needs rights that
 * cannot be given for one namespace alone.
 */
export function serviceAccount({ namespace, name }: { readonly namespace: string; readonly name: string }): Impersonation {
  return { user: `system:serviceaccount:${namespace}:${name}` };
}

export function impersonationHeaders(identity: Impersonation | undefined): OutgoingHttpHeaders {
  if (identity === undefined) return {};
  const { user, groups = [] } = identity;
  return { 'impersonate-user': user, ...(groups.length === 0 ? {} : { 'impersonate-group': [...groups] }) };
}
