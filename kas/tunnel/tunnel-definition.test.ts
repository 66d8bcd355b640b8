import { decodeBytesMessage, encodeBytesMessage } from '../../lib/grpc/bytes-message.ts';
import { ServeRequest } from '../../proto/gen/kas/agent/v1/tunnel.ts';

const DATA = 4;
const generated = (value: Buffer): Buffer => Buffer.from(ServeRequest.encode({ message: { $case: 'data', value } }).finish());

test.each([0, 1, 127, 128, 16_383, 16_384, 70_000, 2_097_152])('%d bytes are encoded as by the generated code', (length) => {
  const bytes = Buffer.alloc(length, 'kas');
  const encoded = encodeBytesMessage(DATA, Buffer.from(bytes));
  const message = Buffer.alloc(encoded.length);
  expect(encoded.copy(message, 0)).toBe(message.length);
  expect(message.equals(generated(bytes))).toBe(true);
  expect(decodeBytesMessage(DATA, message)?.equals(bytes)).toBe(true);
});

test('what is no such message is left to the generated code', () => {
  const message = generated(Buffer.from('abc'));
  for (let length = 0; length < message.length; length += 1)
    expect(decodeBytesMessage(DATA, message.subarray(0, length))).toBeUndefined();
  expect(decodeBytesMessage(DATA, Buffer.concat([message, message]))).toBeUndefined();
  expect(decodeBytesMessage(5, message)).toBeUndefined();
});
