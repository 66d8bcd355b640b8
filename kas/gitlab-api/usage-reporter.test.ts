import { createLogger } from '../../lib/log.ts';
import { until } from '../gitaly/gitaly-fixture.ts';
import { GitlabClient } from './gitlab-client.ts';
import { RorFixture } from './ror-fixture.ts';
import { UsageReporter } from './usage-reporter.ts';

test('syncs are told once, those that GitLab did not take with the next ones, and nothing when there is nothing', async () => {
  await using ror = await RorFixture.start();
  const log = createLogger('test', 'error');
  const rateLimit = { refillPerSecond: 1000, bucketSize: 1000 };
  const client = new GitlabClient({ address: ror.url, secret: ror.secret, rateLimit, log });
  const reporter = new UsageReporter({ client, periodMs: 10, log });
  const sent: number[] = [];
  const metrics = reporter.counting({ bundleSent: (_, bytes) => sent.push(bytes), unknownMessage: () => undefined });
  const stop = new AbortController();
  const running = reporter.run(() => undefined, stop.signal);
  const taken = (): number => ror.taken.reduce((sum, body) => sum + Number(body['gitops_sync_count']), 0);

  ror.trouble = { status: 503 };
  metrics.bundleSent('whole', 5);
  await until(() => ror.requests.length >= 2);
  expect(taken()).toBe(0);
  metrics.bundleSent('unchanged', 0);
  ror.trouble = undefined;
  await until(() => taken() === 2);
  metrics.bundleSent('difference', 7);
  await until(() => taken() === 3);

  stop.abort();
  await running;
  client.close();
  expect(sent).toEqual([5, 0, 7]);
  expect(taken()).toBe(3);
  expect(ror.taken.every((body) => Number(body['gitops_sync_count']) > 0)).toBe(true);
});
