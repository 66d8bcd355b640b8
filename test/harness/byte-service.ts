import {
  type CallOptions,
  type ChannelOptions,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  type Metadata,
  makeGenericClientConstructor,
  type Server,
  ServerCredentials,
  type ServiceError,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';

const method = <Path extends string>(path: Path, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (value: Buffer) => value,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (value: Buffer) => value,
});

/** A gRPC service whose messages are plain bytes, one method of each kind that we use. */
const definition = {
  ask: method('/test.Bytes/Ask', false, false),
  list: method('/test.Bytes/List', false, true),
  talk: method('/test.Bytes/Talk', true, true),
};

export interface ByteClient extends Client {
  ask(
    request: Buffer,
    metadata: Metadata,
    options: Partial<CallOptions>,
    callback: (error: ServiceError | null, response: Buffer) => void,
  ): ClientUnaryCall;
  list(request: Buffer, metadata: Metadata, options: Partial<CallOptions>): ClientReadableStream<Buffer>;
  talk(metadata: Metadata, options: Partial<CallOptions>): ClientDuplexStream<Buffer, Buffer>;
}

const GenericClient = makeGenericClientConstructor(definition, 'Bytes');

export function byteClient(port: number, options: ChannelOptions = {}): ByteClient {
  return new GenericClient(`127.0.0.1:${port}`, credentials.createInsecure(), options) as unknown as ByteClient;
}

/** Serves the handlers (of ask, list, talk) on a free port of 127.0.0.1, and returns the port. */
export async function serveBytes(server: Server, handlers: UntypedServiceImplementation): Promise<number> {
  server.addService(definition, handlers);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
    error === null ? resolve(port) : reject(error),
  );
  return await promise;
}
