import type { BundleObject } from '../../../lib/bundle.ts';
import { type OrderTraits, orderTraits } from '../order/traits.ts';
import { type Handling, handlingProblem, readHandling } from './handling.ts';
import { manifestReferences, type References } from './references.ts';

/** What the engine reads of a manifest before it is applied. */
export interface Manifest {
  readonly version: string;
  /** Objects that this one uses, by kind and name, in its own namespace unless said otherwise. */
  readonly references: References;
  readonly handling: Handling;
  readonly order: OrderTraits;
  /** What a person should know of the manifest; empty when there is nothing. */
  readonly warning: string;
  /** Set for CustomResourceDefinitions: the kind that it brings. */
  readonly defines: Definition | undefined;
}

/** A kind as its CRD brings it. */
export interface Definition {
  readonly group: string;
  readonly kind: string;
  /** Lower-case plural; empty when the CRD does not say. */
  readonly resource: string;
  readonly namespaced: boolean;
}

const read = new WeakMap<Buffer, Manifest>();

/** Parses each content once, however many syncs it takes part in. */
export function readManifest(object: BundleObject): Manifest {
  const known = read.get(object.content);
  if (known !== undefined) return known;
  const value = JSON.parse(object.content.toString('utf8')) as Record<string, unknown>;
  const apiVersion = String(value['apiVersion']);
  const metadata = value['metadata'] as Metadata | undefined;
  const order = orderTraits(object.id, value);
  const manifest: Manifest = {
    version: apiVersion.slice(apiVersion.indexOf('/') + 1),
    references: manifestReferences(object.id, value),
    handling: readHandling(metadata?.annotations),
    warning: handlingProblem(metadata?.annotations) || finalizerWarning(metadata) || (order.hints.warnings[0] ?? ''),
    order,
    defines: definedKind(object, value),
  };
  read.set(object.content, manifest);
  return manifest;
}

interface Metadata {
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
}

/** Applying takes part in owning them: without them in the next manifest, what they guard is cut short. */
function finalizerWarning(metadata: Metadata | undefined): string {
  const finalizers = metadata?.finalizers ?? [];
  if (finalizers.length === 0) return '';
  return `metadata.finalizers (${finalizers.join(', ')}) stand in Git: leave them to the controller that removes them`;
}

function definedKind(object: BundleObject, value: Record<string, unknown>): Manifest['defines'] {
  if (object.id.kind !== 'CustomResourceDefinition' || object.id.group !== 'apiextensions.k8s.io') return undefined;
  const spec = value['spec'] as { group?: string; scope?: string; names?: { kind?: string; plural?: string } } | undefined;
  if (spec?.group === undefined || spec.names?.kind === undefined) return undefined;
  const { kind, plural = '' } = spec.names;
  return { group: spec.group, kind, resource: plural, namespaced: spec.scope !== 'Cluster' };
}
