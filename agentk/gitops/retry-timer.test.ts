import { waitUntil } from '../../test/harness/wait-until.ts';
import { RetryTimer } from './retry-timer.ts';

it('An early retry that was asked for during an attempt is not put off by a late one', async () => {
  let tries = 0;
  const timer = new RetryTimer(() => {
    tries += 1;
  });
  timer.trySoon();
  timer.tryAgain('slowly');
  // Sooner than the shortest late one.
  await waitUntil(() => tries > 0, { what: 'the retry', timeoutMs: 18_000 });
  expect(tries).toBe(1);
  timer.stop();
});
