import { median, quantile } from './statistics.ts';

it('takes the middle value, or the mean of the two in the middle', () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([4, 1, 2, 9])).toBe(3);
});

it('interpolates other quantiles', () => {
  expect(quantile([0, 10], 0.95)).toBe(9.5);
  expect(quantile([3], 0.95)).toBe(3);
});

it('refuses to sum up nothing', () => {
  expect(() => median([])).toThrow(RangeError);
});
