import { once } from 'node:events';
import { Metadata, Server } from '@grpc/grpc-js';
import { byteClient, serveBytes } from '../../test/harness/byte-service.ts';
import { readPiecesInterceptor } from './read-pieces.ts';

interface Inside {
  readonly decoder: { readonly readPartialMessage: readonly Buffer[] };
}

test('messages arrive whole, and no piece of them is kept', async () => {
  let inside: Inside | undefined;
  const server = new Server({
    interceptors: [
      (_, call) => {
        inside = call as unknown as Inside;
        return call as never;
      },
      readPiecesInterceptor,
    ],
  });
  const kept: number[] = [];
  const port = await serveBytes(server, {
    talk: (call: NodeJS.EventEmitter & { write(message: Buffer): void; end(): void }) => {
      call.on('data', (message: Buffer) => {
        kept.push(inside?.decoder.readPartialMessage.length ?? -1);
        call.write(message);
      });
      call.on('end', () => call.end());
    },
  });
  const client = byteClient(port);
  const call = client.talk(new Metadata(), {});
  const received: Buffer[] = [];
  call.on('data', (message: Buffer) => {
    received.push(message);
    if (received.length === 3) call.end();
    else call.write(Buffer.alloc(200_000, received.length));
  });
  call.write(Buffer.alloc(200_000, 0));
  await once(call, 'end');
  client.close();
  server.forceShutdown();
  expect(received.map((message, index) => message.equals(Buffer.alloc(200_000, index)))).toEqual([true, true, true]);
  expect(kept).toEqual([0, 0, 0]);
});
