/**
 * A program beside agentk, as in a cluster: answers GET /bytes/N with N bytes as fast as they are taken, and GET /together/N
 * when N such requests are there. The same bytes come as a gRPC stream, for comparison. Prints its ports as one line of JSON.
 */

import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ServerWritableStream } from '@grpc/grpc-js';
import { WindowedServer } from '../../../lib/grpc/windows.ts';
import { serveBytes } from '../../harness/byte-service.ts';

const CHUNK = Buffer.alloc(64 << 10, 'kas');

const waiting: ServerResponse[] = [];

const server = createServer((request, response) => {
  const [, what, number = ''] = /^\/(\w+)\/(\d+)$/.exec(request.url ?? '') ?? [];
  if (what === 'bytes') send(Number(number), response);
  else if (what === 'together') answerTogether(Number(number), response);
  else response.writeHead(404).end();
});

function send(bytes: number, response: ServerResponse): void {
  response.setHeader('content-length', bytes);
  let sent = 0;
  const more = (): void => {
    while (sent < bytes) {
      const chunk = bytes - sent < CHUNK.length ? CHUNK.subarray(0, bytes - sent) : CHUNK;
      sent += chunk.length;
      if (!response.write(chunk)) {
        // Never, when the client goes away.
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  response.on('error', () => undefined);
  more();
}

function answerTogether(count: number, response: ServerResponse): void {
  waiting.push(response);
  response.once('close', () => {
    const index = waiting.indexOf(response);
    if (index >= 0) waiting.splice(index, 1);
  });
  if (waiting.length >= count) for (const one of waiting.splice(0)) one.end('all here\n');
}

function list(call: ServerWritableStream<Buffer, Buffer>): void {
  const bytes = Number(call.request.toString());
  let sent = 0;
  const more = (): void => {
    while (sent < bytes) {
      sent += CHUNK.length;
      if (!call.write(CHUNK)) {
        call.once('drain', more);
        return;
      }
    }
    call.end();
  };
  call.on('error', () => undefined);
  more();
}

server.listen(0, '127.0.0.1');
await once(server, 'listening');
const grpc = await serveBytes(new WindowedServer(), { list });
process.stdout.write(`${JSON.stringify({ http: (server.address() as AddressInfo).port, grpc })}\n`);
