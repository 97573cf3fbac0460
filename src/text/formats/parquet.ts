/**
 * @file Parquet by hyparquet, one row group after another, only the column that is wanted. All the usual
 * compressions: snappy in hyparquet itself, gzip, brotli, zstd and lz4 from hyparquet-compressors.
 */
import {
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { UnfoldError } from '../../errors.ts';
import {
  chooseColumn,
  idsCell,
  type Piece,
  type ReadOptions,
  type SourceFile,
  stopIfAborted,
  type TextFormat,
  textCell,
} from './format.ts';
import { pieces } from './plain.ts';

/** `.parquet` */
export const parquet: TextFormat = { name: 'parquet', endings: ['.parquet'], read: readParquet };

async function* readParquet(file: SourceFile, options: ReadOptions): AsyncGenerator<Piece> {
  const { buffer, metadata } = await openParquet(file);
  const names = parquetSchema(metadata).children.map((child) => child.element.name);
  const { column, kind } = chooseColumn(file.path, names, options);
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    stopIfAborted(options.signal);
    const rowEnd = rowStart + Number(group.num_rows);
    const rows = await readRows(file, {
      file: buffer,
      metadata,
      columns: [column],
      compressors,
      rowStart,
      rowEnd,
    });
    for (const [i, row] of rows.entries()) {
      const where = `${file.path}: row ${rowStart + i}`;
      if (kind === 'ids') yield { ids: idsCell(row[column], where, column), starts: true };
      else yield* pieces(textCell(row[column], where, column), true, options.cut);
    }
    rowStart = rowEnd;
    options.advance(Math.floor(file.bytes / metadata.row_groups.length));
  }
}

async function openParquet(file: SourceFile) {
  try {
    const buffer = await asyncBufferFromFile(file.path);
    const metadata: FileMetaData = await parquetMetadataAsync(buffer);
    return { buffer, metadata };
  } catch (cause) {
    throw explain(cause, file);
  }
}

async function readRows(file: SourceFile, options: Parameters<typeof parquetReadObjects>[0]) {
  try {
    return await parquetReadObjects(options);
  } catch (cause) {
    throw explain(cause, file);
  }
}

function explain(cause: unknown, file: SourceFile): UnfoldError {
  return new UnfoldError('bad-parquet', {
    where: file.path,
    expected: 'a whole Parquet file',
    found: (cause as Error).message,
    todo: 'download or make the file again',
    cause,
  });
}
