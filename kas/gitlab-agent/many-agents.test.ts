import { LightAgent } from '../../test/compatibility/light-agent.ts';
import { KasFixture } from '../kas-fixture.ts';

/** `npm run bench -- gitlab` asks with 2,000. */
const AGENTS = 300;

test('hundreds of agents of 13.8 have their configuration, also those that share a token', async () => {
  await using kas = await KasFixture.start();
  const configuration = await kas.gitaly.create('team/one');
  await configuration.push({ '.gitlab/agents/one/config.yaml': '', '.gitlab/agents/two/config.yaml': '' });
  const tokens = await Promise.all(['one', 'two', 'one', 'two', 'one', 'two'].map((agent) => kas.token(agent)));
  const agents = Array.from({ length: AGENTS }, (_, index) => {
    return new LightAgent(kas.address('agentAddress'), tokens[index % tokens.length] ?? '');
  });
  try {
    const waits = await Promise.all(agents.map(({ configured }) => configured));
    expect(waits).toHaveLength(AGENTS);
  } finally {
    for (const agent of agents) agent[Symbol.dispose]();
  }
});
