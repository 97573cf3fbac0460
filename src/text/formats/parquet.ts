/**
 * @file Parquet by hyparquet, one row group after another, only the column that is wanted. All the usual
 * compressions: snappy, gzip, brotli, zstd and lz4 from hyparquet-compressors. What the file says of itself is held against
 * its size first (parquet-pages.ts).
 */
import {
  type AsyncBuffer,
  asyncBufferFromFile,
  type ColumnMetaData,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { UnfoldError } from '../../errors.ts';
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
import { checkPages, MOST_VALUES, type Storage } from './parquet-pages.ts';
import { pieces } from './plain.ts';

/** `.parquet` */
export const parquet: TextFormat = { name: 'parquet', endings: ['.parquet'], read: readParquet };

/** An open file and the column that is read. */
interface Chosen {
  file: SourceFile;
  buffer: AsyncBuffer;
  metadata: FileMetaData;
  column: string;
  kind: 'text' | 'ids';
}

async function* readParquet(file: SourceFile, options: ReadOptions): AsyncGenerator<Piece> {
  const { buffer, metadata } = await openParquet(file);
  const names = childrenOf(metadata).map((child) => child.element.name);
  const chosen: Chosen = { file, buffer, metadata, ...chooseColumn(file.path, names, options) };
  const { column, kind } = chosen;
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    stopIfAborted(options.signal);
    const rows = await readRows(chosen, group, rowStart);
    for (const [i, row] of rows.entries()) {
      const where = `${file.path}: row ${rowStart + i}`;
      if (row[column] === undefined) throw explain(new Error(`no value in row ${rowStart + i}`), file);
      if (kind === 'ids') yield { ids: idsCell(row[column], where, column), starts: true };
      else yield* pieces(textCell(row[column], where, column), true, options.cut);
    }
    rowStart += rows.length;
    options.advance(Math.floor(file.bytes / metadata.row_groups.length));
  }
}

async function openParquet(file: SourceFile) {
  try {
    const buffer = await asyncBufferFromFile(file.path);
    const metadata: FileMetaData = await parquetMetadataAsync(buffer);
    childrenOf(metadata);
    return { buffer, metadata };
  } catch (cause) {
    throw explain(cause, file);
  }
}

const childrenOf = (metadata: FileMetaData): SchemaTree[] => parquetSchema(metadata).children;

/** The rows of a group, objects with the one column. */
async function readRows(chosen: Chosen, group: RowGroup, rowStart: number) {
  const { file, buffer, metadata, column } = chosen;
  try {
    const count = Number(group.num_rows);
    if (!(count >= 0 && count <= MOST_VALUES))
      throw new Error(`a row group of ${count} rows, where ${MOST_VALUES} are the most: write smaller ones`);
    const pages = await checkedPages(chosen, group);
    const next = () => pages.shift() ?? new Uint8Array(0);
    return await parquetReadObjects({
      file: buffer,
      metadata,
      columns: [column],
      compressors: Object.fromEntries(Object.keys(compressors).map((codec) => [codec, next])),
      parsers: { stringFromBytes: (bytes) => bytes && utf8Cell(bytes, file.path, column) },
      rowStart,
      rowEnd: rowStart + count,
    });
  } catch (cause) {
    throw explain(cause, file);
  }
}

/** The unpacked pages of the column in this group. @throws Error, UnfoldError for a column of several parts */
async function checkedPages({ file, buffer, metadata, column, kind }: Chosen, { columns }: RowGroup) {
  const parts = columns.filter(({ meta_data }) => meta_data?.path_in_schema[0] === column);
  if (parts.length !== 1) throw refuseColumn(file.path, column, kind, `${parts.length} columns within it`);
  const meta = parts[0]!.meta_data!;
  // As hyparquet finds them.
  const start = Number(meta.dictionary_page_offset || meta.data_page_offset);
  const end = start + Number(meta.total_compressed_size);
  if (!(start >= 0 && end >= start && end <= buffer.byteLength))
    throw new Error(`a column from byte ${start} to ${end} of ${buffer.byteLength}`);
  return checkPages(new Uint8Array(await buffer.slice(start, end)), storageOf(metadata, meta));
}

function storageOf(metadata: FileMetaData, { path_in_schema, codec }: ColumnMetaData): Storage {
  let [repetition, definition, level] = [0, 0, childrenOf(metadata)];
  for (const name of path_in_schema) {
    const found = level.find(({ element }) => element.name === name);
    if (!found) throw new Error(`a column ${path_in_schema.join('.')} that is not in the schema`);
    if (found.element.repetition_type !== 'REQUIRED') definition++;
    if (found.element.repetition_type === 'REPEATED') repetition++;
    level = found.children;
  }
  if (codec === 'UNCOMPRESSED') return { repetition, definition, unpack: undefined };
  const unpack = compressors[codec];
  if (!unpack) throw new Error(`the unknown compression ${codec}`);
  return { repetition, definition, unpack };
}

function explain(cause: unknown, file: SourceFile): unknown {
  if (cause instanceof UnfoldError) return cause;
  return new UnfoldError('bad-parquet', {
    where: file.path,
    expected: 'a whole Parquet file',
    found: (cause as Error).message,
    todo: 'download or make the file again',
    cause,
  });
}
