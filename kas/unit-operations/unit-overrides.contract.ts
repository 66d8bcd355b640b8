import type { UnitOverrides } from './unit-overrides.ts';

const SINCE = new Date('2026-01-02T03:04:05Z');
const COMMIT = 'a'.repeat(40);

/** What every store of overrides must do. `open` gives one that runs; opened again, it has what the one before had. */
export function describeUnitOverrides(name: string, open: () => Promise<UnitOverrides>): void {
  describe(name, () => {
    it('has what was set after a restart, and not what was taken back', async () => {
      const before = await open();
      await Promise.all([
        before.change(1, 'shop', { suspension: { since: SINCE, reason: 'night' } }),
        before.change(1, 'shop', { pin: { commitId: COMMIT, expiresAt: undefined, since: SINCE, reason: '' } }),
        before.change(2, 'web', { suspension: { since: SINCE, reason: '' } }),
      ]);
      await before.change(2, 'web', { suspension: undefined });
      const after = await open();
      const suspension = { since: SINCE, reason: 'night' };
      const pin = { commitId: COMMIT, expiresAt: undefined, since: SINCE, reason: '' };
      expect(after.of(1)).toEqual(new Map([['shop', { suspension, pin }]]));
      expect(after.of(2)).toEqual(new Map());
    });

    it('tells a change with its agent', async () => {
      const overrides = await open();
      const told: number[] = [];
      const unsubscribe = overrides.onChange((agent) => told.push(agent));
      await overrides.change(7, 'shop', { suspension: { since: SINCE, reason: '' } });
      unsubscribe();
      await overrides.change(7, 'shop', { suspension: undefined });
      expect(told).toEqual([7]);
    });

    it('tells that a pin has expired, of all agents that have one', async () => {
      const overrides = await open();
      const pin = { commitId: COMMIT, expiresAt: new Date(Date.now() + 1_500), since: SINCE, reason: '' };
      await overrides.change(1, 'shop', { pin });
      await overrides.change(2, 'shop', { pin });
      const told = new Set<number>();
      await new Promise<void>((resolve) =>
        overrides.onChange((agentId) => {
          if (told.add(agentId).size === 2) resolve();
        }),
      );
      expect(overrides.of(1)).toEqual(new Map());
      expect(overrides.of(2)).toEqual(new Map());
    });
  });
}
