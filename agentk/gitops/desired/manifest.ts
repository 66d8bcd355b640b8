import type { BundleObject } from '../../../lib/bundle.ts';
import { manifestReferences, type References } from './references.ts';

/** What the engine reads of a manifest before it is applied. */
export interface Manifest {
  readonly version: string;
  /** Objects that this one uses, by kind and name, in its own namespace unless said otherwise. */
  readonly references: References;
  /** Set for CustomResourceDefinitions: the kind that it brings. */
  readonly defines: { readonly group: string; readonly kind: string; readonly namespaced: boolean } | undefined;
}

const read = new WeakMap<Buffer, Manifest>();

/** Parses each content once, however many syncs it takes part in. */
export function readManifest(object: BundleObject): Manifest {
  const known = read.get(object.content);
  if (known !== undefined) return known;
  const value = JSON.parse(object.content.toString('utf8')) as Record<string, unknown>;
  const apiVersion = String(value['apiVersion']);
  const manifest: Manifest = {
    version: apiVersion.slice(apiVersion.indexOf('/') + 1),
    references: manifestReferences(object.id, value),
    defines: definedKind(object, value),
  };
  read.set(object.content, manifest);
  return manifest;
}

function definedKind(object: BundleObject, value: Record<string, unknown>): Manifest['defines'] {
  if (object.id.kind !== 'CustomResourceDefinition' || object.id.group !== 'apiextensions.k8s.io') return undefined;
  const spec = value['spec'] as { group?: string; scope?: string; names?: { kind?: string } } | undefined;
  if (spec?.group === undefined || spec.names?.kind === undefined) return undefined;
  return { group: spec.group, kind: spec.names.kind, namespaced: spec.scope !== 'Cluster' };
}
