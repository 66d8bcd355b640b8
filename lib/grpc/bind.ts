import { logVerbosity, type Server, type ServerCredentials, setLogVerbosity } from '@grpc/grpc-js';
import { UserError } from '../errors.ts';
import { formatListenAddress, type ListenAddress } from '../listen-address.ts';

/** Binds a server; the address with the port that the system chose. UserError, naming the server, when it cannot be had. */
export async function bind(
  server: Server,
  name: string,
  address: ListenAddress,
  credentials: ServerCredentials,
): Promise<ListenAddress> {
  const { promise, resolve, reject } = Promise.withResolvers<ListenAddress>();
  const text = formatListenAddress(address);
  // It would print a failure that we report ourselves.
  setLogVerbosity(logVerbosity.NONE);
  server.bindAsync(text, credentials, (error, port) => {
    setLogVerbosity(logVerbosity.ERROR);
    if (error === null) resolve({ host: address.host, port });
    else reject(bindError(`${name}: cannot listen on ${text}`, error));
  });
  return await promise;
}

function bindError(what: string, cause: Error): UserError {
  // "No address added out of total 1 resolved errors: [listen EADDRINUSE: address already in use 127.0.0.1:8150]"
  const detail = /errors: \[(?:listen )?(.*)\]/.exec(cause.message)?.[1] ?? cause.message;
  return new UserError(`${what}: ${detail}`, { kind: 'precondition', cause });
}
