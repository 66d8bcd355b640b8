/** Protocol buffers as they are on the wire: numbers and bytes, without any schema or generated code. */

export interface Field {
  readonly number: number;
  /** 0 varint, 1 eight bytes, 2 with a length, 5 four bytes. */
  readonly wireType: number;
  readonly value: bigint | Buffer;
}

export function readFields(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('a message ends too early');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error('a message ends too early');
    return bytes.subarray(at, (at += length));
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const wireType = tag & 7;
    const number = tag >> 3;
    if (wireType === 0) fields.push({ number, wireType, value: varint() });
    else if (wireType === 1) fields.push({ number, wireType, value: take(8) });
    else if (wireType === 2) fields.push({ number, wireType, value: take(Number(varint())) });
    else if (wireType === 5) fields.push({ number, wireType, value: take(4) });
    else throw new Error(`wire type ${wireType} does not exist`);
  }
  return fields;
}

/** The values of all fields with this number that have bytes: texts, messages. */
export function blobs(message: Buffer, number: number): Buffer[] {
  return readFields(message).flatMap((field) => {
    if (field.number !== number) return [];
    if (!Buffer.isBuffer(field.value)) throw new Error(`field ${number} is a number`);
    return [field.value];
  });
}

/** The one field with this number; undefined when there is none. */
export function blob(message: Buffer, number: number): Buffer | undefined {
  return blobs(message, number).at(-1);
}

export function text(message: Buffer | undefined, number: number): string {
  return message === undefined ? '' : (blob(message, number)?.toString('utf8') ?? '');
}

export function texts(message: Buffer | undefined, number: number): string[] {
  return message === undefined ? [] : blobs(message, number).map((value) => value.toString('utf8'));
}

/** A number that is not there is 0. */
export function number(message: Buffer | undefined, field: number): bigint {
  const value = message === undefined ? undefined : readFields(message).findLast((one) => one.number === field)?.value;
  if (Buffer.isBuffer(value)) throw new Error(`field ${field} is no number`);
  return value ?? 0n;
}

/** The numbers of the fields of a message, in order, each once. */
export function numbers(message: Buffer): number[] {
  return [...new Set(readFields(message).map((field) => field.number))];
}
