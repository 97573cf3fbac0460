/**
 * @file CSV and TSV with a header line (RFC 4180, parsed by csv-parse: quoted fields may span lines). A token column
 * holds ids in JSON's brackets or separated by spaces.
 */
import { Readable } from 'node:stream';
import { CsvError, parse } from 'csv-parse';
import { UnfoldError } from '../../errors.ts';
import { openText } from './bytes.ts';
import {
  chooseColumn,
  idsCell,
  type Piece,
  type ReadOptions,
  type SourceFile,
  type TextFormat,
} from './format.ts';
import { pieces } from './plain.ts';

/** Bytes of a row: more means quotes that nobody closes. 64 MiB. */
const MOST_RECORD = 2 ** 26;

/** Comma-separated. */
export const csv: TextFormat = {
  name: 'csv',
  endings: ['.csv'],
  read: (file, options) => readTable(file, options, ','),
};
/** Tab-separated. */
export const tsv: TextFormat = {
  name: 'tsv',
  endings: ['.tsv'],
  read: (file, options) => readTable(file, options, '\t'),
};

interface Row {
  record: string[];
  info: { lines: number };
}

async function* readTable(file: SourceFile, options: ReadOptions, delimiter: string): AsyncGenerator<Piece> {
  const parser = parse({ delimiter, info: true, skip_empty_lines: true, max_record_size: MOST_RECORD });
  const source = Readable.from(openText(file, options));
  source.once('error', (error) => parser.destroy(error));
  source.pipe(parser);
  let column: { index: number; name: string; kind: 'text' | 'ids' } | undefined;
  try {
    for await (const { record, info } of parser as AsyncIterable<Row>) {
      const where = `${file.path}:${info.lines}`;
      if (column === undefined) {
        const chosen = chooseColumn(where, record, options);
        column = { index: record.indexOf(chosen.column), name: chosen.column, kind: chosen.kind };
        continue;
      }
      const cell = record[column.index]!;
      if (column.kind === 'ids') yield { ids: idsCell(listOf(cell), where, column.name), starts: true };
      else yield* pieces(cell, true, options.cut);
    }
  } catch (cause) {
    throw explain(cause, file);
  } finally {
    source.destroy();
  }
}

/** `[1, 2]` or `1 2`; a word that is no number in digits is left for the check of the cell to name. */
function listOf(cell: string): unknown {
  const words = cell.replace(/^\s*\[|\]\s*$/g, '').split(/[\s,]+/);
  return words.filter((word) => word !== '').map((word) => (/^\d+(\.0+)?$/.test(word) ? Number(word) : word));
}

function explain(cause: unknown, file: SourceFile): unknown {
  if (!(cause instanceof CsvError)) return cause;
  if (cause.code === 'CSV_MAX_RECORD_SIZE') return tooLong(cause, file);
  const line = typeof cause.lines === 'number' ? `:${cause.lines}` : '';
  return new UnfoldError('bad-text', {
    where: `${file.path}${line}`,
    expected: 'rows with as many fields as the header, quotes closed',
    found: cause.message,
    todo: 'mend the line; if the file has another separator or no header, convert it to JSONL',
    cause,
  });
}

function tooLong(cause: CsvError, file: SourceFile): UnfoldError {
  return new UnfoldError('bad-text', {
    where: `${file.path}:${typeof cause.lines === 'number' ? cause.lines : 1}`,
    expected: `rows of up to ${MOST_RECORD} bytes`,
    found: 'a longer one, or quotes that are not closed',
    todo: 'divide the text into several rows, or close the quotes',
    cause,
  });
}
