import { getEventListeners } from 'node:events';
import { Writable } from 'node:stream';
import { Metadata, Server } from '@grpc/grpc-js';
import { type ByteClient, byteClient, serveBytes } from '../../test/harness/byte-service.ts';
import { waitUntil } from '../../test/harness/wait-until.ts';
import { aborted, sleep } from '../abort.ts';
import { UnavailableError, UserError } from '../errors.ts';
import { createLogger } from '../log.ts';
import { callBidi, callServerStream, callUnary } from './call.ts';
import { type CallContext, Handlers } from './serve.ts';

type Ask = (request: Buffer, context: CallContext) => Promise<Buffer>;
type List = (request: Buffer, context: CallContext) => AsyncIterable<Buffer>;
type Talk = (requests: AsyncIterable<Buffer>, context: CallContext) => AsyncIterable<Buffer>;

const never = new AbortController().signal;
const bytes = (text: string): Buffer => Buffer.from(text);

let server: Server;
let client: ByteClient;
let stopping: AbortController;
let logged: string;

async function start(handlers: { ask?: Ask; list?: List; talk?: Talk }): Promise<void> {
  logged = '';
  const destination = new Writable({
    write: (chunk, _encoding, done) => {
      logged += String(chunk);
      done();
    },
  });
  stopping = new AbortController();
  const adapt = new Handlers(createLogger('test', 'debug', destination), stopping.signal);
  server = new Server();
  const port = await serveBytes(server, {
    ask: adapt.unary(handlers.ask ?? (async (request) => request)),
    list: adapt.serverStreaming(handlers.list ?? async function* () {}),
    talk: adapt.bidi(handlers.talk ?? async function* () {}),
  });
  client = byteClient(port);
}

afterEach(() => {
  client.close();
  server.forceShutdown();
});

const ask = (request: Buffer, signal = never, timeoutMs?: number): Promise<Buffer> =>
  callUnary(client.ask.bind(client), request, timeoutMs === undefined ? {} : { timeoutMs }, signal);
const list = (signal = never): AsyncGenerator<Buffer, void, void> =>
  callServerStream(client.list.bind(client), bytes(''), {}, signal);

async function texts(stream: AsyncIterable<Buffer>): Promise<string[]> {
  const all: string[] = [];
  for await (const chunk of stream) all.push(String(chunk));
  return all;
}

/** A handler that waits for the end of its call and tells of it. */
function waiting(): { handler: Ask; ended: Promise<unknown>; entered: Promise<void> } {
  const ended = Promise.withResolvers<unknown>();
  const entered = Promise.withResolvers<void>();
  const handler: Ask = async (_request, { signal }) => {
    entered.resolve();
    await aborted(signal);
    ended.resolve(signal.reason);
    throw signal.reason;
  };
  return { handler, ended: ended.promise, entered: entered.promise };
}

describe('a unary call', () => {
  it('hands the handler request, metadata and peer, and returns its answer', async () => {
    await start({
      ask: async (request, { metadata, peer }) => bytes([request, ...metadata.get('who'), peer.split(':')[0]].join(' ')),
    });
    const metadata = new Metadata();
    metadata.set('who', 'me');
    expect(String(await callUnary(client.ask.bind(client), bytes('hello'), { metadata }, never))).toBe('hello me 127.0.0.1');
  });

  it('rejects with the user error of the handler, which nobody logs', async () => {
    await start({ ask: () => Promise.reject(new UserError('no such thing', { kind: 'not_found', reason: 'Missing' })) });
    await expect(ask(bytes(''))).rejects.toMatchObject({
      name: 'UserError',
      kind: 'not_found',
      reason: 'Missing',
      message: 'no such thing',
    });
    expect(logged).toBe('');
  });

  it('keeps a bug to the server, which logs it with the method', async () => {
    await start({ ask: () => Promise.reject(new TypeError('hunter2 is undefined')) });
    await expect(ask(bytes(''))).rejects.toMatchObject({ message: 'internal error' });
    expect(logged).toContain('hunter2 is undefined');
    expect(logged).toContain('/test.Bytes/Ask');
  });

  it('tells the handler when the caller gives up, and rejects with the caller’s reason', async () => {
    const { handler, ended, entered } = waiting();
    await start({ ask: handler });
    const reason = new Error('changed my mind');
    const controller = new AbortController();
    const answer = ask(bytes(''), controller.signal);
    await entered;
    controller.abort(reason);
    await expect(answer).rejects.toBe(reason);
    expect(await ended).toMatchObject({ name: 'AbortError' });
  });

  it('tells the handler when the deadline has passed', async () => {
    const { handler, ended } = waiting();
    await start({ ask: handler });
    await expect(ask(bytes(''), never, 100)).rejects.toBeInstanceOf(UnavailableError);
    expect(await ended).toMatchObject({ name: 'AbortError' });
  });

  it('ends as unavailable when the server stops', async () => {
    const { handler, entered } = waiting();
    await start({ ask: handler });
    const answer = ask(bytes(''));
    await entered;
    stopping.abort(new Error('stop'));
    await expect(answer).rejects.toBeInstanceOf(UnavailableError);
    expect(logged).toBe('');
  });

  it('is unavailable when nobody listens', async () => {
    await start({});
    server.forceShutdown();
    await expect(ask(bytes(''))).rejects.toBeInstanceOf(UnavailableError);
  });
});

describe('a handler that throws at once, without a promise or generator', () => {
  const refuse = (): never => {
    throw new UserError('not now', { kind: 'precondition' });
  };

  it('fails its call as its error says', async () => {
    await start({ ask: refuse, list: refuse, talk: refuse });
    const calls = [
      () => ask(bytes('')),
      () => texts(list()),
      () => texts(callBidi(client.talk.bind(client), {}, never).responses),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ kind: 'precondition', message: 'not now' });
  });
});

describe('a server stream', () => {
  it('yields what the handler yields, in order, and ends with it', async () => {
    await start({
      list: async function* () {
        for (const text of ['a', 'b', 'c']) yield bytes(text);
      },
    });
    expect(await texts(list())).toEqual(['a', 'b', 'c']);
  });

  it('fails with the error of the handler after what came before it', async () => {
    await start({
      list: async function* () {
        yield bytes('a');
        throw new UserError('too many', { kind: 'exhausted' });
      },
    });
    const stream = list();
    expect(String((await stream.next()).value)).toBe('a');
    await expect(stream.next()).rejects.toMatchObject({ kind: 'exhausted', message: 'too many' });
  });

  it('makes the handler wait for a reader that is slow', async () => {
    let yielded = 0;
    await start({
      list: async function* () {
        for (; yielded < 500; yielded++) yield Buffer.alloc(64 << 10);
      },
    });
    const stream = list();
    await stream.next();
    let before = -1;
    const isHeldUp = (): boolean => {
      const same = before === yielded;
      before = yielded;
      return same;
    };
    await waitUntil(isHeldUp, { what: 'the handler to be held up', intervalMs: 200 });
    expect(yielded).toBeLessThan(100);
    expect(await texts(stream)).toHaveLength(499);
  });

  it('ends the handler when its reader leaves', async () => {
    const left = Promise.withResolvers<void>();
    await start({
      list: async function* (_request, { signal }) {
        try {
          yield bytes('a');
          await sleep(60_000, signal);
        } finally {
          left.resolve();
        }
      },
    });
    for await (const _ of list()) break;
    await expect(left.promise).resolves.toBeUndefined();
    expect(logged).toBe('');
  });

  it('rejects with the reason of the caller who gives up', async () => {
    await start({
      list: async function* (_request, { signal }) {
        yield bytes('a');
        await aborted(signal);
      },
    });
    const controller = new AbortController();
    const stream = list(controller.signal);
    await stream.next();
    controller.abort(new Error('enough'));
    await expect(stream.next()).rejects.toThrow('enough');
  });

  it('never passes off as complete what a stopping server cut short', async () => {
    await start({
      list: async function* () {
        for (let count = 0; count < 10_000; count++) {
          yield bytes(String(count));
          if (count === 10) stopping.abort(new Error('stop'));
        }
      },
    });
    await expect(texts(list())).rejects.toBeInstanceOf(UnavailableError);
  });

  it('ends well when the handler ends by itself because the server stops', async () => {
    await start({
      list: async function* (_request, { signal }) {
        yield bytes('a');
        stopping.abort(new Error('stop'));
        await aborted(signal);
      },
    });
    expect(await texts(list())).toEqual(['a']);
  });
});

describe('a bidirectional stream', () => {
  const echo: Talk = async function* (requests) {
    for await (const request of requests) yield request;
  };
  const talk = (signal = never): ReturnType<typeof callBidi<Buffer, Buffer>> => callBidi(client.talk.bind(client), {}, signal);

  it('carries messages both ways and ends when both sides have ended', async () => {
    await start({ talk: echo });
    const call = talk();
    await call.send(bytes('a'));
    await call.send(bytes('b'));
    call.end();
    expect(await texts(call.responses)).toEqual(['a', 'b']);
  });

  it('makes the sender wait for a handler that does not read, until it goes away', async () => {
    const { promise: gone, resolve: leave } = Promise.withResolvers<void>();
    await start({
      talk: async function* () {
        await gone;
        yield bytes('enough');
      },
    });
    const call = talk();
    let sent = 0;
    const sending = (async () => {
      for (; sent < 500; sent++) await call.send(Buffer.alloc(64 << 10));
    })();
    let before = -1;
    const isHeldUp = (): boolean => {
      const same = before === sent;
      before = sent;
      return same;
    };
    await waitUntil(isHeldUp, { what: 'the sender to be held up', intervalMs: 200 });
    expect(sent).toBeLessThan(100);
    leave();
    const [responses] = await Promise.all([texts(call.responses), expect(sending).rejects.toThrow('The stream has ended')]);
    expect(responses).toEqual(['enough']);
  });

  it('tells the handler by its requests when the caller goes away without a word', async () => {
    const seen: unknown[] = [];
    await start({
      talk: async function* (requests) {
        try {
          for await (const request of requests) yield request;
          seen.push('a proper end');
        } catch (error) {
          seen.push(error);
          throw error;
        }
      },
    });
    for (let count = 0; count < 20; count++) {
      const call = talk();
      await call.send(bytes('a'));
      await call.responses[Symbol.asyncIterator]().next();
      call.cancel();
    }
    await waitUntil(() => seen.length === 20, { what: 'every handler to end' });
    expect(seen).toEqual(seen.map(() => expect.objectContaining({ name: 'AbortError' })));
    expect(logged).toBe('');
  });

  it('fails on both sides when the connection breaks', async () => {
    await start({ talk: echo });
    const call = talk();
    await call.send(bytes('a'));
    const responses = call.responses[Symbol.asyncIterator]();
    await responses.next();
    server.forceShutdown();
    await expect(responses.next()).rejects.toBeInstanceOf(UnavailableError);
    await expect(call.send(bytes('b'))).rejects.toThrow('The stream has ended');
  });

  it('leaves no listener on the signals of calls that are over', async () => {
    await start({ talk: echo });
    const controller = new AbortController();
    const before = getEventListeners(stopping.signal, 'abort').length;
    for (let count = 0; count < 3; count++) {
      const call = talk(controller.signal);
      call.end();
      await texts(call.responses);
      await ask(bytes(''), controller.signal);
    }
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    await waitUntil(() => getEventListeners(stopping.signal, 'abort').length === before, { what: 'the server to let go' });
  });
});
