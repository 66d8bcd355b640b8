import { status } from '@grpc/grpc-js';
import type { Handlers } from '../../lib/grpc/serve.ts';
import type {
  ServerReflectionRequest,
  ServerReflectionResponse,
  ServerReflectionServer,
} from '../../proto/gen/grpc/reflection/v1/reflection.ts';
import type { FileDescriptors } from './file-descriptors.ts';

type Answer = NonNullable<ServerReflectionResponse['messageResponse']>;

/**
 * grpc.reflection: what a server can be asked. The messages of v1alpha are the same.
 * @param services full names
 */
export function createReflectionService(
  handlers: Handlers,
  services: readonly string[],
  descriptors: FileDescriptors,
): ServerReflectionServer {
  async function* serverReflectionInfo(
    requests: AsyncIterable<ServerReflectionRequest>,
  ): AsyncGenerator<ServerReflectionResponse, void, void> {
    for await (const request of requests)
      yield { validHost: request.host, originalRequest: request, messageResponse: answer(request, services, descriptors) };
  }
  return { serverReflectionInfo: handlers.bidi(serverReflectionInfo) };
}

function answer({ messageRequest }: ServerReflectionRequest, services: readonly string[], descriptors: FileDescriptors): Answer {
  switch (messageRequest?.$case) {
    case 'listServices':
      return { $case: 'listServicesResponse', value: { service: services.map((name) => ({ name })) } };
    case 'fileByFilename':
      return files(descriptors.byName(messageRequest.value), messageRequest.value);
    case 'fileContainingSymbol':
      return files(descriptors.bySymbol(messageRequest.value), messageRequest.value);
    case 'allExtensionNumbersOfType':
      // No file has extensions.
      return { $case: 'allExtensionNumbersResponse', value: { baseTypeName: messageRequest.value, extensionNumber: [] } };
    case 'fileContainingExtension':
      return files(undefined, `extension ${messageRequest.value.extensionNumber} of ${messageRequest.value.containingType}`);
    case undefined:
      return failure(status.INVALID_ARGUMENT, 'the request asks for nothing');
  }
}

function files(found: readonly Buffer[] | undefined, what: string): Answer {
  if (found === undefined) return failure(status.NOT_FOUND, `${what} is not known`);
  return { $case: 'fileDescriptorResponse', value: { fileDescriptorProto: [...found] } };
}

function failure(errorCode: number, errorMessage: string): Answer {
  return { $case: 'errorResponse', value: { errorCode, errorMessage } };
}
