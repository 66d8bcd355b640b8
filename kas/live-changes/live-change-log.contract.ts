import type { LiveChange, LiveEntry } from './live-change.ts';
import { KEPT_CHANGES, type LiveChangeLog } from './live-change-log.ts';

export function liveChange(agentId: number, name: string, more: Partial<LiveChange> = {}): LiveChange {
  const object = JSON.stringify({ kind: 'Pod', metadata: { name } });
  return { agentId, type: 'modified', group: '', kind: 'Pod', namespace: 'n', name, resourceVersion: '1', object, ...more };
}

/** Reads so many entries after the cursor. */
export async function read(log: LiveChangeLog, agentId: number, cursor: string, count: number): Promise<LiveEntry[]> {
  const stop = new AbortController();
  const entries: LiveEntry[] = [];
  try {
    for await (const entry of log.follow(agentId, cursor, stop.signal)) if (entries.push(entry) === count) break;
  } finally {
    stop.abort();
  }
  return entries;
}

const names = (entries: readonly LiveEntry[]): string[] => entries.map(({ change }) => change.name);

/** What every log of live changes must do. `create` gives an empty one. */
export function describeLiveChangeLog(name: string, create: () => Promise<LiveChangeLog>): void {
  let log: LiveChangeLog;

  describe(name, () => {
    beforeEach(async () => {
      log = await create();
    });

    it('tells followers of each change once and in order, each agent apart', async () => {
      const cursor = await log.newest(1);
      const many = Array.from({ length: 500 }, (_, index) => liveChange(1, `pod-${index}`));
      const reading = read(log, 1, cursor, many.length + 1);
      await log.append([liveChange(2, 'other')]);
      for (let at = 0; at < many.length; at += 7) await log.append(many.slice(at, at + 7));
      await log.append([liveChange(1, 'last', { type: 'deleted', group: 'apps', kind: 'Deployment' })]);
      const entries = await reading;
      expect(names(entries).slice(0, 500)).toEqual(names(many.map((change) => ({ cursor: '', change }))));
      expect(entries.find(({ change }) => change.name === 'pod-3')?.change).toEqual(many[3]);
    });

    it('goes on after a cursor', async () => {
      let cursor = await log.newest(1);
      await log.append([liveChange(1, 'a'), liveChange(1, 'b'), liveChange(1, 'c')]);
      const entries = await read(log, 1, cursor, 3);
      cursor = entries.find(({ change }) => change.name === 'a')?.cursor ?? '';
      expect(names(await read(log, 1, cursor, 2))).toEqual(['b', 'c']);
    });

    it('says that a cursor is too old, of another life or none', async () => {
      const cursor = await log.newest(1);
      const all = Array.from({ length: KEPT_CHANGES + 10 }, (_, index) => liveChange(1, `pod-${index}`));
      await log.append(all);
      await expect(read(log, 1, cursor, 1)).rejects.toMatchObject({ reason: 'Expired' });
      await expect(read(log, 1, 'abc.1', 1)).rejects.toMatchObject({ reason: 'Expired' });
      await expect(read(log, 1, cursor.replace(/\d+$/, '99999'), 1)).rejects.toMatchObject({ reason: 'Expired' });
      await expect(read(log, 1, 'nonsense', 1)).rejects.toMatchObject({ kind: 'invalid' });
    });

    it('ends with its signal', async () => {
      const stop = new AbortController();
      const follower = log.follow(1, await log.newest(1), stop.signal)[Symbol.asyncIterator]();
      const next = follower.next();
      stop.abort(new Error('enough'));
      await expect(next).rejects.toThrow('enough');
    });
  });
}
