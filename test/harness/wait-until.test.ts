import { waitUntil } from './wait-until.ts';

describe('waitUntil', () => {
  it('returns the first truthy value, also of a condition that throws at first', async () => {
    let calls = 0;
    const condition = async (): Promise<string | undefined> => {
      calls += 1;
      if (calls === 1) throw new Error('not yet');
      return calls === 3 ? 'done' : undefined;
    };
    expect(await waitUntil(condition, { what: 'it', intervalMs: 1 })).toBe('done');
  });

  it('fails with what it waited for and the last value', async () => {
    await expect(waitUntil(() => 0, { what: 'a number', timeoutMs: 20, intervalMs: 5 })).rejects.toThrow(
      'waited 0.02 s for a number; last value: 0',
    );
  });

  it('fails with the last error as its cause', async () => {
    const refused = new Error('refused');
    const failure = waitUntil(() => Promise.reject(refused), { what: 'an answer', timeoutMs: 20, intervalMs: 5 });
    await expect(failure).rejects.toMatchObject({ message: 'waited 0.02 s for an answer; last error: refused', cause: refused });
  });

  it('ends with the reason of its signal', async () => {
    const controller = new AbortController();
    const waiting = waitUntil(() => false, { what: 'nothing' }, controller.signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
