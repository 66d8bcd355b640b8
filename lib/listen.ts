import type { AddressInfo, Server } from 'node:net';
import { toError, UserError } from './errors.ts';
import { formatListenAddress, type ListenAddress } from './listen-address.ts';

/** Connections that wait to be accepted: all agents of a kas that went away come at once. Linux allows as many by default. */
const BACKLOG = 4_096;

/** The address a server listens on, with the port that the system chose. UserError, naming the server, when it cannot be had. */
export async function listen(server: Server, name: string, { host, port }: ListenAddress): Promise<ListenAddress> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.prependOnceListener('error', reject);
  server.listen({ host, port, backlog: BACKLOG }, resolve);
  try {
    await promise;
  } catch (error) {
    const detail = toError(error).message.replace(/^listen /, '');
    const what = `${name}: cannot listen on ${formatListenAddress({ host, port })}: ${detail}`;
    throw new UserError(what, { kind: 'precondition', cause: error });
  } finally {
    server.off('error', reject);
  }
  return { host, port: (server.address() as AddressInfo).port };
}
