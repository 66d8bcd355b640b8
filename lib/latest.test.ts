import { Latest } from './latest.ts';

describe('Latest', () => {
  it('hands over the newest value only', async () => {
    const latest = new Latest<number>();
    latest.set(1);
    latest.set(2);
    const reader = latest[Symbol.asyncIterator]();
    expect(await reader.next()).toEqual({ done: false, value: 2 });
    const next = reader.next();
    latest.set(3);
    expect(await next).toEqual({ done: false, value: 3 });
  });

  it('ends when closed, after the value that was not taken yet', async () => {
    const latest = new Latest<string>();
    latest.set('last');
    latest.close();
    latest.set('too late');
    const values: string[] = [];
    for await (const value of latest) values.push(value);
    expect(values).toEqual(['last']);
  });

  it('wakes a reader that waits when it is closed', async () => {
    const latest = new Latest<undefined>();
    const next = latest[Symbol.asyncIterator]().next();
    latest.close();
    expect((await next).done).toBe(true);
  });
});
