import type { ObjectsToSynchronizeResponse } from '../../proto/gen/gitlab/agent/gitops/gitops.ts';
import { FileReceiver, type ReceivedFiles } from './received-files.ts';

type Message = ObjectsToSynchronizeResponse['message'];

const headers: Message = { $case: 'headers', value: { commitId: 'c1' } };
const trailers: Message = { $case: 'trailers', value: {} };
const piece = (source: string, data: string | Buffer): Message => ({
  $case: 'object',
  value: { source, data: Buffer.from(data) },
});

function receive(...messages: Message[]): ReceivedFiles | undefined {
  const receiver = new FileReceiver();
  for (const message of messages) receiver.receive({ message });
  return receiver.end();
}

const filesOf = (...messages: Message[]): Record<string, string> =>
  Object.fromEntries(receive(headers, ...messages, trailers)!.files.map(({ path, content }) => [path, String(content)]));

test('pieces of one file that follow each other are joined', () => {
  const big = 'x'.repeat(128 << 10);
  expect(filesOf(piece('a', big), piece('a', 'end'), piece('b', 'b'))).toEqual({ a: `${big}end`, b: 'b' });
});

test('a file that several globs match is taken once, whether it comes again at once or later', () => {
  const big = 'xy'.repeat(64 << 10);
  expect(filesOf(piece('a', 'one'), piece('a', 'one'), piece('a', 'one'))).toEqual({ a: 'one' });
  expect(filesOf(piece('a', big), piece('a', '!'), piece('a', big), piece('a', '!'))).toEqual({ a: `${big}!` });
  expect(filesOf(piece('a', 'one'), piece('b', 'two'), piece('a', 'one'))).toEqual({ a: 'one', b: 'two' });
  expect(filesOf(piece('a', ''), piece('a', ''))).toEqual({ a: '' });
});

test('two contents of one path are an error', () => {
  expect(() => filesOf(piece('a', 'one'), piece('b', ''), piece('a', 'two'))).toThrow('two files a that differ');
});

test('an answer that ends before it begins brings no commit', () => {
  expect(receive()).toBeUndefined();
});

test.each<[string, Message[], string]>([
  ['an object first', [piece('a', '')], 'before the headers'],
  ['trailers first', [trailers], 'before the headers'],
  ['headers twice', [headers, headers], 'headers after headers'],
  ['something after the trailers', [headers, trailers, piece('a', '')], 'after its trailers'],
  ['no trailers', [headers, piece('a', '')], 'before its trailers'],
  ['an empty commit id', [{ $case: 'headers', value: { commitId: '' } }], 'without a commit id'],
  ['an empty source', [headers, piece('', 'x')], 'without a source'],
  ['an unknown message', [headers, undefined], 'neither headers nor object nor trailers'],
])('%s is refused', (_, messages, error) => {
  expect(() => receive(...messages)).toThrow(error);
});
