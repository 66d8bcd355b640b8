import type { LiveObject } from '../../kube/cluster.ts';
import type { KindName } from '../health/health-checks.ts';

/**
 * Notices that a CustomResourceDefinition has another specification than before. A property that it drops vanishes from its
 * objects without a write, an event or another resourceVersion: they have to be looked at again.
 */
export class SchemaChanges {
  /** Newest generation of each definition, by name. */
  readonly #generations = new Map<string, number>();

  /** The kind whose objects may read differently now; undefined when there is none. */
  seen(object: LiveObject): KindName | undefined {
    if (object.kind !== 'CustomResourceDefinition') return undefined;
    const { name, generation = 0 } = object.metadata;
    const known = this.#generations.get(name);
    this.#generations.set(name, generation);
    if (known === undefined || known === generation) return undefined;
    const { group, names } = object['spec'] as { readonly group: string; readonly names: { readonly kind: string } };
    return `${names.kind}.${group}`;
  }
}
