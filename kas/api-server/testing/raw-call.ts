import { createHmac, randomUUID } from 'node:crypto';
import { Client, credentials, Metadata } from '@grpc/grpc-js';

/** For tests: calls and messages put together by hand, so that what is expected is the wire's and not our generated code's. */

const same = (bytes: Buffer): Buffer => bytes;

/** The answer to a unary call; rejects with grpc-js' error. */
export async function rawUnary(address: string, method: string, request: Buffer, metadata = new Metadata()): Promise<Buffer> {
  const client = new Client(address, credentials.createInsecure());
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      const deadline = Date.now() + 30_000;
      client.makeUnaryRequest(method, same, same, request, metadata, { deadline }, (error, response) =>
        error === null && response !== undefined ? resolve(response) : reject(error ?? new Error('no answer')),
      );
    });
  } finally {
    client.close();
  }
}

/** The first answer of a bidirectional call to one request. */
export async function rawBidi(address: string, method: string, request: Buffer): Promise<Buffer> {
  const client = new Client(address, credentials.createInsecure());
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      const call = client.makeBidiStreamRequest(method, same, same, new Metadata(), { deadline: Date.now() + 30_000 });
      call.on('data', resolve);
      call.on('error', reject);
      call.write(request);
    });
  } finally {
    client.close();
  }
}

export interface Claims {
  readonly [name: string]: unknown;
}

/** As GitLab's Rails application signs (lib/json_web_token/hmac_token.rb), claims replaced by those given. */
export function railsToken(secret: Uint8Array, claims: Claims = {}, alg = 'HS256'): Metadata {
  const now = Math.floor(Date.now() / 1000);
  const all = {
    jti: randomUUID(),
    iat: now,
    nbf: now - 5,
    exp: now + 60,
    iss: 'gitlab.example.com',
    aud: 'gitlab-kas',
    ...claims,
  };
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const content = `${part({ typ: 'JWT', alg })}.${part(all)}`;
  const signature = alg === 'none' ? '' : createHmac('sha256', secret).update(content).digest('base64url');
  const metadata = new Metadata();
  metadata.set('authorization', `bearer ${content}.${signature}`);
  return metadata;
}

type Field = readonly [number, bigint | number | string | Buffer];

/** A protobuf message: numbers are varints, texts and Buffers are length-delimited. */
export function message(...fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.map(([number, value]) => {
      if (typeof value === 'number' || typeof value === 'bigint') return Buffer.concat([varint(number << 3), varint(value)]);
      const bytes = Buffer.from(value as string);
      return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
    }),
  );
}

function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(value);
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** The fields of a message in their order: varints as bigint, length-delimited ones as Buffer. */
export function fieldsOf(bytes: Buffer): [number, bigint | Buffer][] {
  const fields: [number, bigint | Buffer][] = [];
  let at = 0;
  const readVarint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] ?? 0;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(readVarint());
    const [number, type] = [key >> 3, key & 7];
    if (type === 0) fields.push([number, readVarint()]);
    else if (type === 2) {
      const length = Number(readVarint());
      fields.push([number, bytes.subarray(at, at + length)]);
      at += length;
    } else throw new Error(`wire type ${type} is not expected here`);
  }
  return fields;
}
