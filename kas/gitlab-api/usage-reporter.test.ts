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
  const told = (): number[] =>
    ror.requests.map(({ body }) => (JSON.parse(body) as { gitops_sync_count: number }).gitops_sync_count);

  ror.trouble = { status: 503 };
  metrics.bundleSent('whole', 5);
  await until(() => told().length >= 2);
  metrics.bundleSent('unchanged', 0);
  ror.trouble = undefined;
  await until(() => told().includes(2));
  metrics.bundleSent('difference', 7);
  await until(() => told().at(-1) === 1 && told().length > 2);
  const before = told().filter((count) => count === 2).length;

  stop.abort();
  await running;
  client.close();
  expect(sent).toEqual([5, 0, 7]);
  expect(before).toBe(1);
});
