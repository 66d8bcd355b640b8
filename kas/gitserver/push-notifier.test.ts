import { randomBytes } from 'node:crypto';
import { sleep } from '../../lib/abort.ts';
import { UserError } from '../../lib/errors.ts';
import { createLogger } from '../../lib/log.ts';
import { PushNotifier } from './push-notifier.ts';
import { KasApi } from './testing/kas-api.ts';

const secret = new Uint8Array(randomBytes(32));
const never = new AbortController().signal;
const push = (relativePath: string) => ({ storageName: 'default', relativePath });

let lines: string[];
let open: (() => void | Promise<void>)[];

beforeEach(() => {
  lines = [];
  open = [];
});

afterEach(async () => {
  for (const close of open.toReversed()) await close();
});

async function startKas(beforeAnswer?: () => Promise<void>, port = 0): Promise<{ kas: KasApi; port: number }> {
  const kas = new KasApi(secret, beforeAnswer);
  const bound = await kas.listen(port);
  open.push(() => kas.stop());
  return { kas, port: bound };
}

function startNotifier(port: number, key = secret): PushNotifier {
  const log = createLogger('test', 'debug', { write: (line: string) => void lines.push(line) });
  const notifier = new PushNotifier({ target: `127.0.0.1:${port}`, secret: key, log }, never);
  open.push(() => notifier.close());
  return notifier;
}

it('tells kas once more, and only once, of all that is pushed while it is being told', async () => {
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
  const { kas, port } = await startKas(() => answered);
  const notifier = startNotifier(port);
  const first = notifier.notify(push('a.git'));
  await kas.count(1);
  const others = Array.from({ length: 50 }, () => notifier.notify(push('a.git')));
  expect(notifier.pending).toBe(1);
  answer();
  await Promise.all([first, ...others]);
  expect(kas.received).toHaveLength(2);
  expect(notifier.pending).toBe(0);
});

it('does not make one repository wait for another', async () => {
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
  const { kas, port } = await startKas(() => answered);
  const notifier = startNotifier(port);
  const all = ['a.git', 'b.git', 'c.git'].map((path) => notifier.notify(push(path)));
  await kas.count(3);
  expect(notifier.pending).toBe(3);
  answer();
  await Promise.all(all);
});

it('tries again until kas is there, and says so once when it fails and once when it works', async () => {
  const { kas: gone, port } = await startKas();
  gone.stop();
  const notifier = startNotifier(port);
  const all = ['a.git', 'b.git', 'c.git'].map((path) => notifier.notify(push(path)));
  const tooLate = AbortSignal.timeout(5_000);
  while (!lines.some((line) => line.includes('Cannot tell kas'))) await sleep(5, tooLate);
  const { kas } = await startKas(undefined, port);
  await Promise.all(all);
  expect(kas.received.map(({ relativePath }) => relativePath).toSorted()).toEqual(['a.git', 'b.git', 'c.git']);
  expect(lines.filter((line) => line.includes('Cannot tell kas'))).toHaveLength(1);
  expect(lines.filter((line) => line.includes('takes notifications of pushes again'))).toHaveLength(1);
});

it('gives up what kas refuses for good', async () => {
  const { kas, port } = await startKas(async () => {
    throw new UserError('no such thing');
  });
  await startNotifier(port).notify(push('a.git'));
  expect(kas.received).toHaveLength(1);
  expect(lines.some((line) => line.includes('kas refused the notification'))).toBe(true);
});

it('goes on trying when kas does not accept its token, and never shows the token or secret', async () => {
  const { port } = await startKas();
  const wrong = new Uint8Array(randomBytes(32));
  const notifier = startNotifier(port, wrong);
  const notified = notifier.notify(push('a.git'));
  const tooLate = AbortSignal.timeout(5_000);
  while (!lines.some((line) => line.includes('JWT validation failed'))) await sleep(5, tooLate);
  expect(notifier.pending).toBe(1);
  await notifier.close();
  await notified;
  expect(lines.join('')).not.toMatch(/eyJ|Bearer/);
});
