import { aborted } from './abort.ts';
import { type Part, runStages } from './stages.ts';

describe('runStages', () => {
  let story: string[];
  let stopping: AbortController;

  beforeEach(() => {
    story = [];
    stopping = new AbortController();
  });

  /** A part that tells when it starts and stops. */
  function part(name: string, behaviour: Partial<{ onStart: () => Promise<void>; onStop: () => Promise<void> }> = {}): Part {
    return {
      name,
      run: async (ready, signal) => {
        story.push(`start ${name}`);
        await behaviour.onStart?.();
        ready();
        await aborted(signal);
        await behaviour.onStop?.();
        story.push(`stop ${name}`);
      },
    };
  }

  /** A last stage that stops everything as soon as it runs. */
  const trigger = (): Part => part('trigger', { onStart: async () => stopping.abort(new Error('stop')) });

  it('starts in order, each stage when the one before is ready, and stops in reverse', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow = part('slow store', { onStart: async () => await promise });
    const running = runStages([[part('store'), slow], [part('server')], [trigger()]], { graceMs: 1_000 }, stopping.signal);
    expect(story).toEqual(['start store', 'start slow store']);
    resolve();
    await running;
    expect(story.slice(2)).toEqual([
      'start server',
      'start trigger',
      'stop trigger',
      'stop server',
      'stop store',
      'stop slow store',
    ]);
  });

  it('starts nothing when it is to stop already', async () => {
    stopping.abort(new Error('stop'));
    await runStages([[part('store')]], { graceMs: 1_000 }, stopping.signal);
    expect(story).toEqual([]);
  });

  it('stops everything when a part fails, and throws its error, not what follows from it', async () => {
    const failing = part('server', { onStart: () => Promise.reject(new Error('port in use')) });
    const consequence = part('store', { onStop: () => Promise.reject(new Error('connection lost')) });
    const running = runStages([[consequence], [failing], [part('never')]], { graceMs: 1_000 }, stopping.signal);
    await expect(running).rejects.toThrow('port in use');
    expect(story).toEqual(['start store', 'start server']);
  });

  it('takes a part that returns by itself for a failure', async () => {
    const reasons: string[] = [];
    const ending: Part = { name: 'poller', run: async (ready) => ready() };
    const options = { graceMs: 1_000, onStopping: (reason: string) => reasons.push(reason) };
    await expect(runStages([[part('store')], [ending]], options, stopping.signal)).rejects.toThrow('poller ended by itself');
    expect(reasons).toEqual(['poller ended']);
    expect(story).toEqual(['start store', 'stop store']);
  });

  it('reports a part that fails while it stops', async () => {
    const broken = part('store', { onStop: () => Promise.reject(new Error('not flushed')) });
    await expect(runStages([[broken], [trigger()]], { graceMs: 1_000 }, stopping.signal)).rejects.toThrow('not flushed');
  });

  it('says once why it stops', async () => {
    const reasons: string[] = [];
    const failing = part('server', { onStart: () => Promise.reject(new Error('port in use')) });
    const other = part('other', { onStart: () => Promise.reject(new Error('as well')) });
    const options = { graceMs: 1_000, onStopping: (reason: string) => reasons.push(reason) };
    await expect(runStages([[failing, other]], options, stopping.signal)).rejects.toThrow('port in use');
    stopping.abort(new Error('stop'));
    expect(reasons).toEqual(['server failed']);
  });

  it('leaves behind a part that does not stop within the grace', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const stuck = part('stuck', { onStop: async () => await promise });
    await runStages([[part('store')], [stuck], [trigger()]], { graceMs: 30 }, stopping.signal);
    expect(story.slice(-2)).toEqual(['stop trigger', 'stop store']);
    resolve();
  });
});
