import { readFile } from 'node:fs/promises';
import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation, type ServingStatusMap } from 'grpc-health-check';
import type { GrpcService } from '../../lib/grpc/listener.ts';

/** What `npm run generate` makes of proto/src. */
const DESCRIPTORS = new URL('../../proto/gen/descriptors.binpb', import.meta.url);

/**
 * grpc.health.v1 and server reflection (v1 and v1alpha) for the services of a server. Both are for everybody who reaches
 * the port: they tell what kas can be asked, which is no secret, and whether it can be.
 * @param draining fires when the server is about to stop: from then on nothing is healthy
 */
export async function describeServices(services: readonly GrpcService[], draining: AbortSignal): Promise<readonly GrpcService[]> {
  const names = services.map(({ definition }) => nameOf(definition));
  const added: GrpcService[] = [];
  const collector = {
    addService: (definition: ServiceDefinition, handlers: UntypedServiceImplementation): void =>
      void added.push({ definition, handlers }),
  };
  const health = new HealthImplementation(statuses(names, 'SERVING'));
  health.addToServer(collector);
  draining.addEventListener('abort', () => {
    for (const name of ['', ...names]) health.setStatus(name, 'NOT_SERVING');
  });
  const descriptors = loadFileDescriptorSetFromBuffer(await readFile(DESCRIPTORS));
  new ReflectionService(descriptors, { services: names }).addToServer(collector);
  return added;
}

function statuses(names: readonly string[], status: 'SERVING'): ServingStatusMap {
  return Object.fromEntries(['', ...names].map((name) => [name, status]));
}

/** "kas.api.v1.AgentsService", from the path of a method. */
function nameOf(definition: ServiceDefinition): string {
  const [method] = Object.values(definition);
  return method?.path.split('/')[1] ?? '';
}
