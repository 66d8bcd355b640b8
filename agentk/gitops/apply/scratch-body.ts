import type { ObjectId } from '../../../lib/object-id.ts';
import type { LiveObject } from '../../kube/cluster.ts';

interface ServiceSpec {
  clusterIP?: unknown;
  clusterIPs?: unknown;
  healthCheckNodePort?: unknown;
  ports?: { nodePort?: unknown }[];
}

/**
 * A body for a dry-run beside the live object: of a Service without the addresses and ports that only one can have and
 * that the live one has now.
 */
export function scratchBody(body: string, id: ObjectId, live: LiveObject): string {
  if (id.kind !== 'Service' || id.group !== '') return body;
  const parsed = JSON.parse(body) as { spec?: ServiceSpec };
  const held = live['spec'] as ServiceSpec | undefined;
  const { spec } = parsed;
  if (spec === undefined || held === undefined) return body;
  if (spec.clusterIP === held.clusterIP && spec.clusterIP !== 'None') {
    delete spec.clusterIP;
    delete spec.clusterIPs;
  }
  if (spec.healthCheckNodePort === held.healthCheckNodePort) delete spec.healthCheckNodePort;
  const taken = new Set((held.ports ?? []).map(({ nodePort }) => nodePort));
  for (const port of spec.ports ?? []) if (taken.has(port.nodePort)) delete port.nodePort;
  return JSON.stringify(parsed);
}
