import { byteSize, durationMs, listenAddress } from './config-types.ts';
import { formatListenAddress } from './listen-address.ts';

describe('durationMs', () => {
  it.each([
    ['20s', 20_000],
    ['1.5s', 1500],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['300ms', 300],
    ['1800s', 1_800_000],
    ['0s', 0],
    ['0', 0],
    ['1.000340012s', 1000],
    ['.5s', 500],
    ['1500us', 2],
  ])('reads %s as %d ms', (text, ms) => {
    expect(durationMs().parse(text)).toBe(ms);
  });

  it.each(['', '5', 's', '-5s', '5 s', '5d', '1h 30m', '5S', '1..5s', '.s', `${'1s'.repeat(100)}`])('refuses %j', (text) => {
    expect(durationMs().safeParse(text).error?.issues[0]?.message).toContain('must be a duration; write it like 20s');
  });

  it('refuses a number without unit', () => {
    expect(durationMs().safeParse(20).success).toBe(false);
  });

  it('keeps to its bounds, and to what a timer can hold', () => {
    expect(durationMs({ min: 1000, max: 60_000 }).safeParse('500ms').error?.issues[0]?.message).toBe(
      'must be between 1s and 1m; change the duration',
    );
    expect(durationMs({ min: 1000, max: 60_000 }).parse('1m')).toBe(60_000);
    expect(durationMs().safeParse('720h').success).toBe(false);
  });

  it('takes a default in milliseconds', () => {
    expect(durationMs().default(20_000).parse(undefined)).toBe(20_000);
  });
});

describe('byteSize', () => {
  it.each([
    [1048576, 1048576],
    ['1048576', 1048576],
    ['512Ki', 524288],
    ['5MiB', 5242880],
    ['20M', 20_000_000],
    ['1.5Gi', 1610612736],
    ['7B', 7],
  ])('reads %s as %d bytes', (input, bytes) => {
    expect(byteSize().parse(input)).toBe(bytes);
  });

  it.each(['', '5 MiB', '-1', '5T', 'MiB', 1.5, '0.1B', '1e9'])('refuses %j', (input) => {
    expect(byteSize().safeParse(input).success).toBe(false);
  });

  it('keeps to its bounds', () => {
    expect(byteSize({ max: 1024 }).safeParse('2Ki').error?.issues[0]?.message).toBe(
      'must be between 0 and 1024 bytes; change the size',
    );
  });
});

describe('listenAddress', () => {
  it.each([
    ['127.0.0.1:8150', { host: '127.0.0.1', port: 8150 }, '127.0.0.1:8150'],
    [':8150', { host: '0.0.0.0', port: 8150 }, '0.0.0.0:8150'],
    ['[::1]:0', { host: '::1', port: 0 }, '[::1]:0'],
    ['kas.example.com:443', { host: 'kas.example.com', port: 443 }, 'kas.example.com:443'],
  ])('reads %s', (text, address, formatted) => {
    expect(listenAddress().parse(text)).toEqual(address);
    expect(formatListenAddress(listenAddress().parse(text))).toBe(formatted);
  });

  it.each(['', '127.0.0.1', '8150', ':65536', '::1:8150', 'http://a:80', 'a b:80'])('refuses %j', (text) => {
    expect(listenAddress().safeParse(text).success).toBe(false);
  });
});
