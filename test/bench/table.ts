import { type Figure, ratioOf, type Target, verdictOf } from './figure.ts';

const HEADINGS = ['workload', 'figure', 'ours', 'peer', '', 'ratio', 'must reach', ''];
const RIGHT_ALIGNED: ReadonlySet<number> = new Set([2, 4, 5]);

/** The figures as a Markdown table, columns aligned, without a line feed at the end. */
export function formatTable(figures: readonly Figure[]): string {
  const rows = figures.map(cells);
  const widths = HEADINGS.map((heading, at) => Math.max(3, heading.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const line = (row: readonly string[]): string => `| ${row.map((cell, at) => pad(cell, at, widths[at] ?? 0)).join(' | ')} |`;
  const rule = widths.map((width, at) => (RIGHT_ALIGNED.has(at) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  return [line(HEADINGS), line(rule), ...rows.map(line)].join('\n');
}

function cells(figure: Figure): readonly string[] {
  const { workload, unit, ours, peer, target } = figure;
  const ratio = ratioOf(figure);
  return [
    workload,
    unit,
    formatNumber(ours),
    peer?.name ?? '',
    peer === undefined ? '' : formatNumber(peer.value),
    ratio === undefined ? '' : `${formatNumber(ratio)} x`,
    target === undefined ? '' : formatTarget(target),
    verdictOf(figure),
  ];
}

function formatTarget(target: Target): string {
  if ('atLeast' in target) return `at least ${formatNumber(target.atLeast)}`;
  if ('atMost' in target) return `at most ${formatNumber(target.atMost)}`;
  const { atLeastTimesPeer, reduced } = target;
  const least = `at least ${formatNumber(atLeastTimesPeer)} x`;
  return reduced === undefined
    ? least
    : `${least} (wanted ${formatNumber(reduced.wanted)} x, the limit is ${formatNumber(reduced.limit)} x)`;
}

/** Three significant digits below 100, whole numbers above. */
export function formatNumber(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 100) return value.toFixed(0);
  return String(Number(value.toPrecision(3)));
}

function pad(cell: string, column: number, width: number): string {
  return RIGHT_ALIGNED.has(column) ? cell.padStart(width) : cell.padEnd(width);
}
