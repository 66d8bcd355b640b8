import { type ClientHttp2Session, connect } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { METHODS } from './probe.ts';

/** AgentMeta of an agentk 13.8, in a ConfigurationRequest without a commit. */
const REQUEST = Buffer.concat([
  Buffer.from([0x12, 0x14, 0x0a, 0x07]),
  Buffer.from('v13.8.0'),
  Buffer.from([0x12, 0x03]),
  Buffer.from('abc'),
  Buffer.from([0x22, 0x04]),
  Buffer.from('pod0'),
]);

/** A connection of an agentk 13.8 as far as its server notices: it asks for the configuration, compressed, and stays. */
export class LightAgent implements Disposable {
  /** Resolves with the milliseconds from the start to the first configuration; rejects when the call ends before. */
  readonly configured: Promise<number>;
  readonly #session: ClientHttp2Session;

  constructor(address: string, token: string) {
    const startedAt = performance.now();
    this.#session = connect(`http://${address}`);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.configured = promise;
    promise.catch(() => undefined);
    this.#session.on('error', reject);
    const call = this.#session.request({
      ':method': 'POST',
      ':path': METHODS.configuration,
      'content-type': 'application/grpc',
      'user-agent': 'agentk/v13.8.0/abc grpc-go/1.34.0',
      te: 'trailers',
      'grpc-encoding': 'gzip',
      'grpc-accept-encoding': 'gzip',
      authorization: `Bearer ${token}`,
    });
    const body = gzipSync(REQUEST);
    const head = Buffer.from([1, 0, 0, 0, 0]);
    head.writeUInt32BE(body.length, 1);
    call.end(Buffer.concat([head, body]));
    call.once('data', () => resolve(performance.now() - startedAt));
    call.on('trailers', (trailers) =>
      reject(new Error(`the call ended: ${String(trailers['grpc-status'])} ${String(trailers['grpc-message'])}`)),
    );
    call.on('response', (headers) => {
      const status = headers['grpc-status'];
      if (status !== undefined) reject(new Error(`refused: ${String(status)} ${String(headers['grpc-message'])}`));
    });
    call.on('error', reject);
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}
