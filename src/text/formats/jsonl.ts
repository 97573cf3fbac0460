/** @file JSON Lines: one object a line, with a text or a token column. Blank lines count for nothing. */
import { UnfoldError } from '../../errors.ts';
import {
  chooseColumn,
  idsCell,
  type Piece,
  type ReadOptions,
  type SourceFile,
  type TextFormat,
  textCell,
} from './format.ts';
import { readLines } from './lines.ts';
import { pieces } from './plain.ts';

/** `.jsonl`, `.ndjson`, and `.json` that is written the same way. */
export const jsonLines: TextFormat = {
  name: 'jsonl',
  endings: ['.jsonl', '.ndjson', '.json'],
  read: readJsonLines,
};

async function* readJsonLines(file: SourceFile, options: ReadOptions): AsyncGenerator<Piece> {
  for await (const line of readLines(file, options)) {
    if (line.text.trim() === '') continue;
    const where = `${file.path}:${line.number}`;
    const record = parse(line.text, where);
    const { column, kind } = chooseColumn(where, Object.keys(record), options);
    if (kind === 'ids') yield { ids: idsCell(record[column], where, column), starts: true };
    else yield* pieces(textCell(record[column], where, column), true, options.cut);
  }
}

function parse(line: string, where: string): Record<string, unknown> {
  let value: unknown;
  let reason = '';
  try {
    value = JSON.parse(line);
  } catch (error) {
    reason = ` (${(error as Error).message.slice(0, 120)})`;
  }
  if (value !== null && typeof value === 'object' && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new UnfoldError('bad-json', {
    where,
    expected: 'one JSON object on the line, such as {"text": "…"}',
    found: `${JSON.stringify(line.slice(0, 60))}${reason}`,
    todo: 'mend or remove the line; an array of objects becomes such lines with: jq -c ".[]" FILE > NEW.jsonl',
  });
}
