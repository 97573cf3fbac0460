/** @file What import and export print: one line a coder, and how far the written one is from the original. */
import type { ConvertResult } from '../coders/formats/convert.ts';
import { textTable } from '../table.ts';

/** A table of the coders under a line that says where they are. */
export function convertSummary({ out, coders, skipped }: ConvertResult, what: string): string {
  const rows = coders.map(({ name, architecture, outputs, notes }) => [
    name,
    architecture,
    outputs === 0 ? 'equal' : outputs.toExponential(1),
    notes.join('; '),
  ]);
  const table = textTable(['coder', 'architecture', 'output difference', ''], rows);
  return `${out}: ${what}${skipped ? '; it was there before' : ''}\n${table}`;
}
