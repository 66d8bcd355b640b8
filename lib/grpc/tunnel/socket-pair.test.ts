import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { socketPair } from './socket-pair.ts';

test('what goes into one comes out of the other', async () => {
  const [near, far] = await socketPair();
  near.write('hello');
  expect(String((await once(far, 'data'))[0])).toBe('hello');
  near.destroy();
  await once(far, 'close');
});

/** Leaves descriptors for the server and one end, frees the others later, and prints what becomes of the pair. */
const SCRIPT = `
  import { closeSync, openSync } from 'node:fs';
  import { socketPair } from ${JSON.stringify(new URL('./socket-pair.ts', import.meta.url).href)};
  for (const socket of await socketPair()) socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  const held = [];
  try { for (;;) held.push(openSync('/dev/null', 'r')); } catch {}
  for (const descriptor of held.splice(0, 2)) closeSync(descriptor);
  const pair = socketPair().then(() => 'made', () => 'refused');
  setTimeout(() => { for (const descriptor of held) closeSync(descriptor); }, 500);
  console.log(await pair);
  process.exit();
`;

test('without descriptors for both there is an answer all the same', async () => {
  const limited = ['-c', 'ulimit -n 64; exec "$0" --disable-warning=ExperimentalWarning --input-type=module -e "$1"'];
  const { stdout } = await promisify(execFile)('sh', [...limited, process.execPath, SCRIPT], { timeout: 30_000 });
  expect(stdout.trim()).toMatch(/^(?:made|refused)$/);
}, 40_000);
