import type { AgentConnection, AgentTracker } from './agent-tracker.ts';

/** What every tracker must do. `create` gives an empty one. */
export function describeAgentTracker(name: string, create: () => Promise<AgentTracker>): void {
  const signal = new AbortController().signal;
  const connection = (agentId: number, connectionId: bigint, at: number): AgentConnection => ({
    connectionId,
    agent: { id: agentId, name: `agent-${agentId}`, project: 'team/one' },
    connectedAt: new Date(at),
    meta: { version: '1', commitId: '', podNamespace: '', podName: '', kubernetesVersion: '' },
  });

  describe(name, () => {
    it('lists connections by agent, then by the time they came', async () => {
      const tracker = await create();
      for (const [agent, id, at] of [
        [2, 1n, 10],
        [1, 2n, 30],
        [1, 3n, 20],
      ] as const)
        await tracker.add(connection(agent, id, at));
      expect((await tracker.list(signal)).map(({ connectionId }) => connectionId)).toEqual([3n, 2n, 1n]);
    });

    it('forgets the one connection that ended', async () => {
      const tracker = await create();
      await tracker.add(connection(1, 1n, 10));
      await tracker.add(connection(1, 2n, 20));
      await tracker.remove(connection(1, 1n, 10));
      await tracker.remove(connection(1, 9n, 10));
      expect(await tracker.list(signal)).toEqual([connection(1, 2n, 20)]);
    });
  });
}
