import { setImmediate } from 'node:timers/promises';
import { MessageQueue } from '../../lib/message-queue.ts';
import type { SendRequest } from '../../proto/gen/kas/agent/v1/cluster_requests.ts';
import { MessageExchange } from './message-exchange.ts';

const head = (length?: string): SendRequest => {
  const headers = length === undefined ? [] : [{ name: 'Content-Length', value: length }];
  const http = { method: 'PUT', path: '/', headers, upgrade: '' };
  return { message: { $case: 'head', value: { http, target: { $case: 'service', value: 's' } } } };
};
const data = (text: string): SendRequest => ({ message: { $case: 'data', value: Buffer.from(text) } });

function exchangeOf(...messages: readonly SendRequest[]) {
  const requests = new MessageQueue<SendRequest>();
  for (const message of messages) requests.push(message);
  const stop = new AbortController();
  return { requests, stop, exchange: new MessageExchange(requests, stop.signal) };
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  let text = '';
  for await (const chunk of body) text += chunk.toString();
  return text;
}

test('a body that was begun to be read in vain is read whole by the next reader', async () => {
  const { requests, exchange } = exchangeOf(head());
  await exchange.head();
  const first = textOf(exchange.body);
  const second = textOf(exchange.body);
  requests.push(data('one '));
  requests.push(data('two'));
  requests.end();
  expect(await second).toBe('one two');
  expect(await first).toBe('');
});

test.each([
  ['no head', [data('x')], /first message/],
  ['nothing', [], /first message/],
  ['two lengths', [head('1, 2')], /one number/],
])('%s is no request', async (_, messages, message) => {
  const { requests, exchange } = exchangeOf(...messages);
  requests.end();
  await expect(exchange.head()).rejects.toThrow(message);
});

test.each([
  ['longer than it says', [head('3'), data('ab'), data('cd')], 'ab'],
  ['shorter than it says', [head('3'), data('ab')], 'ab'],
  ['begun anew', [head(), data('ab'), head()], 'ab'],
])('a body that is %s is cut off where that shows', async (_, messages, read) => {
  const { requests, exchange } = exchangeOf(...messages);
  requests.end();
  await exchange.head();
  let text = '';
  const reading = (async () => {
    for await (const chunk of exchange.body) text += chunk.toString();
  })();
  await expect(reading).rejects.toMatchObject({ kind: 'invalid' });
  expect(text).toBe(read);
  expect(exchange.fault).toMatchObject({ kind: 'invalid' });
});

test('an answer is written no faster than it is taken, and not at all when the caller is gone', async () => {
  const { exchange, stop } = exchangeOf();
  const responses = exchange.responses();
  let written = 0;
  const writing = (async () => {
    exchange.answer({ status: 200, headers: [] });
    for (; written < 3; written += 1) await exchange.writeBytes(Buffer.alloc(10));
  })();
  writing.catch(() => undefined);
  const next = async (): Promise<string | undefined> => {
    const { value } = await responses.next();
    await setImmediate();
    return value?.message?.$case;
  };
  expect([await next(), written]).toEqual(['head', 0]);
  expect([await next(), written]).toEqual(['data', 0]);
  expect([await next(), written]).toEqual(['data', 1]);
  stop.abort();
  await expect(writing).rejects.toBe(stop.signal.reason);
  expect(written).toBe(1);
});
