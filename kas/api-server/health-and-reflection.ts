import { readFile } from 'node:fs/promises';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type { GrpcService } from '../../lib/grpc/listener.ts';
import type { Handlers } from '../../lib/grpc/serve.ts';
import { ServerReflectionService } from '../../proto/gen/grpc/reflection/v1/reflection.ts';
import { ServerReflectionService as AlphaService } from '../../proto/gen/grpc/reflection/v1alpha/reflection.ts';
import { FileDescriptors } from './file-descriptors.ts';
import { createReflectionService } from './reflection-service.ts';

/** What `npm run generate` makes of proto/src. */
const DESCRIPTORS = new URL('../../proto/gen/descriptors.binpb', import.meta.url);

/**
 * grpc.health.v1 and server reflection (v1 and v1alpha) for the services of a server. Both are for everybody who reaches
 * the port: they tell what kas can be asked, which is no secret, and whether it can be.
 * @param draining fires when the server is about to stop: from then on nothing is healthy
 */
export async function describeServices(
  services: readonly GrpcService[],
  handlers: Handlers,
  draining: AbortSignal,
): Promise<readonly GrpcService[]> {
  const names = services.map(({ definition }) => nameOf(definition));
  const health = healthOf(names, draining);
  const all = [...names, nameOf(health.definition), nameOf(ServerReflectionService), nameOf(AlphaService)];
  const reflection = createReflectionService(handlers, all, new FileDescriptors(await readFile(DESCRIPTORS)));
  return [
    health,
    { definition: ServerReflectionService, handlers: reflection },
    { definition: AlphaService, handlers: reflection },
  ];
}

function healthOf(names: readonly string[], draining: AbortSignal): GrpcService {
  const health = new HealthImplementation(Object.fromEntries(['', ...names].map((name) => [name, 'SERVING'])));
  draining.addEventListener('abort', () => {
    for (const name of ['', ...names]) health.setStatus(name, 'NOT_SERVING');
  });
  let service: GrpcService | undefined;
  health.addToServer({
    addService: (definition, handlers) => {
      service = { definition, handlers };
    },
  });
  if (service === undefined) throw new Error('grpc-health-check added no service');
  return service;
}

/** "kas.api.v1.AgentsService", from the path of a method. */
function nameOf(definition: ServiceDefinition): string {
  const [method] = Object.values(definition);
  return method?.path.split('/')[1] ?? '';
}
