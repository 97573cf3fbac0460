/**
 * @file Arrow IPC, streams and files alike, batch by batch, only the column that is wanted. This is also what a
 * Hugging Face `datasets` folder holds. Compressed bodies are refused with the remedy.
 */
import { type Dictionary, listNumbers, textBytes } from '../../arrow/cells.ts';
import type { Column } from '../../arrow/column.ts';
import { ArrowFile, type Message } from '../../arrow/file.ts';
import { type Field, typeName } from '../../arrow/schema.ts';
import {
  chooseColumn,
  idsCell,
  type Piece,
  type ReadOptions,
  refuseColumn,
  type SourceFile,
  stopIfAborted,
  type TextFormat,
  textCell,
  utf8Cell,
} from './format.ts';
import { pieces } from './plain.ts';

/** `.arrow`, `.feather` (version 2) and `.ipc`. */
export const arrow: TextFormat = { name: 'arrow', endings: ['.arrow', '.feather', '.ipc'], read: readArrow };

const ASKING = {
  kind: 'bad-arrow',
  expected: 'a whole Arrow IPC stream or file, not compressed',
  todo: 'copy or make the file again',
};

/** The column that is read. */
interface Chosen {
  index: number;
  field: Field;
  kind: 'text' | 'ids';
}

async function* readArrow(source: SourceFile, options: ReadOptions): AsyncGenerator<Piece> {
  const file = await ArrowFile.open(source.path, ASKING);
  try {
    yield* rowsOf(file, options);
  } finally {
    await file.close();
  }
}

async function* rowsOf(file: ArrowFile, options: ReadOptions): AsyncGenerator<Piece> {
  const dictionary: Column[] = [];
  let [row, read] = [0, 0];
  let chosen: Chosen | undefined;
  for await (const message of file.messages()) {
    stopIfAborted(options.signal);
    chosen ??= choose(file, options);
    if (message.content.kind === 'dictionary') await addEntries(file, message, chosen, dictionary);
    if (message.content.kind === 'batch') {
      const column = await file.load(chosen.index, message.content.batch, message.body);
      for (let i = 0; i < column.length; i++, row++)
        yield* cellPieces(file, column, i, row, chosen, dictionary, options);
    }
    const end = message.body.offset + message.body.length;
    options.advance(Math.max(0, end - read));
    read = Math.max(read, end);
  }
  if (chosen === undefined) choose(file, options);
}

/** The column to read. @throws UnfoldError for one of a type that holds neither text nor ids */
function choose(file: ArrowFile, options: ReadOptions): Chosen {
  const names = file.fields.map(({ name }) => name);
  const { column, kind } = chooseColumn(file.path, names, options);
  const index = names.indexOf(column);
  const field = file.fields[index]!;
  if (!(kind === 'text' ? isText(field) : isIds(field)))
    throw refuseColumn(file.path, column, kind, typeName(field));
  return { index, field, kind };
}

const isText = ({ type }: Field) => ['utf8', 'large_utf8', 'utf8_view'].includes(type.kind);

const isIds = ({ type, children: [child] }: Field) =>
  ['list', 'large_list', 'fixed_size_list'].includes(type.kind) &&
  child?.dictionary === undefined &&
  (child?.type.kind === 'int' || (child?.type.kind === 'float' && child.type.size >= 32));

/** Entries of the chosen column's dictionary, which this message may hold. */
async function addEntries(file: ArrowFile, { content, body }: Message, { field }: Chosen, into: Column[]) {
  if (content.kind !== 'dictionary' || content.id !== field.dictionary?.id) return;
  if (!content.delta) into.length = 0;
  into.push(await file.loadOf([{ ...field, dictionary: undefined }], 0, content.batch, body));
}

function* cellPieces(
  file: ArrowFile,
  column: Column,
  i: number,
  row: number,
  { field, kind }: Chosen,
  dictionary: Dictionary,
  options: ReadOptions,
): Generator<Piece> {
  const where = `${file.path}: row ${row}`;
  if (kind === 'ids') {
    yield { ids: idsCell(cell(file, listNumbers, column, i, dictionary), where, field.name), starts: true };
    return;
  }
  const bytes = cell(file, textBytes, column, i, dictionary);
  const text = bytes === null ? null : utf8Cell(bytes, where, field.name);
  yield* pieces(textCell(text, where, field.name), true, options.cut);
}

function cell<T>(
  file: ArrowFile,
  read: (column: Column, i: number, dictionary: Dictionary) => T,
  column: Column,
  i: number,
  dictionary: Dictionary,
): T {
  try {
    return read(column, i, dictionary);
  } catch (error) {
    throw file.explain(error);
  }
}
