/** @file One look for every table on a terminal or in a pipe: columns without lines, a bold head, no colour codes of its own. */
import Table, { type TableConstructorOptions } from 'cli-table3';
import pc from 'picocolors';
import { cleanLines } from './printable.ts';

/** What a table may need besides its cells. */
export interface TableOptions {
  /** Width of each column, padding included; longer text wraps. Default: as wide as the longest cell. */
  widths?: number[];
  align?: ('left' | 'right')[];
}

const CORNERS = ['top', 'bottom', 'left', 'right', 'mid'].flatMap((side) => [
  side,
  ...['mid', 'left', 'right'].flatMap((part) => [`${side}-${part}`, `${part}-${side}`]),
]);
const NO_LINES = Object.fromEntries([...CORNERS, 'middle'].map((place) => [place, '']));

/** Rows under a head (an empty head for none), ready to print. */
export function textTable(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  { widths, align }: TableOptions = {},
): string {
  const options: TableConstructorOptions = {
    head: head.map((text) => pc.bold(text)),
    chars: NO_LINES,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  };
  if (widths) Object.assign(options, { colWidths: widths, wordWrap: true });
  if (align) options.colAligns = align;
  const table = new Table(options);
  // Before widths are measured: what is made visible takes room.
  table.push(...rows.map((cells) => cells.map((cell) => cleanLines(String(cell), pc.isColorSupported))));
  return table.toString();
}
