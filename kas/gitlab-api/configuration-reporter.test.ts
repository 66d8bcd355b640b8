import type { Subscriber } from '../../lib/broadcast.ts';
import { createLogger } from '../../lib/log.ts';
import type { ConfigurationSnapshot } from '../agent-session/agent-configuration.ts';
import { until } from '../gitaly/gitaly-fixture.ts';
import { ConfigurationReporter } from './configuration-reporter.ts';
import { GitlabClient } from './gitlab-client.ts';
import { RorFixture } from './ror-fixture.ts';

test('one agent whose configuration GitLab refuses does not keep the others from being told', async () => {
  await using ror = await RorFixture.start();
  ror.refusedAgents.add(1);
  const log = createLogger('test', 'error');
  const rateLimit = { refillPerSecond: 1000, bucketSize: 1000 };
  const client = new GitlabClient({ address: ror.url, secret: ror.secret, rateLimit, log });
  const reporter = new ConfigurationReporter({ client, log });
  const subscribers = new Map<number, Subscriber<ConfigurationSnapshot>>();
  const source = reporter.reporting({
    subscribe: (_, { id }, subscriber) => {
      subscribers.set(id, subscriber);
      return () => undefined;
    },
  });
  for (const id of [1, 2, 3])
    source.subscribe(
      'token',
      { id, name: `agent-${id}`, project: 'team/one' },
      { next: () => undefined, failed: () => undefined },
    );
  const tell = (id: number, project: string): void => {
    const sharing = { ci_access: { projects: [{ id: project }] } };
    subscribers.get(id)?.next({ commitId: 'c', configuration: { sharing }, problems: [] } as unknown as ConfigurationSnapshot);
  };
  const taken = (): unknown[] => ror.taken.map((body) => body['agent_id']);
  const stop = new AbortController();
  for (const id of [1, 2, 3]) tell(id, 'team/a');
  const running = reporter.run(() => undefined, stop.signal);

  await until(() => taken().length === 2);
  expect(taken()).toEqual([2, 3]);
  tell(2, 'team/b');
  await until(() => taken().length === 3);
  ror.refusedAgents.clear();
  await until(() => taken().includes(1));

  stop.abort();
  await running;
  client.close();
  expect(ror.taken.find((body) => body['agent_id'] === 1)).toEqual({
    agent_id: 1,
    agent_config: { ci_access: { projects: [{ id: 'team/a' }] } },
  });
});
