/**
 * @file Reads activations that other programs saved as a Hugging Face `datasets` folder, without sidecars: SAELens's
 * cached activations (one row a context, Array2D = list<list<float>>, with `token_ids`), and flat rows
 * (FixedSizeList, or lists that all have one length). Each record batch is a block. Lists of differing lengths, nulls
 * and float64 are refused with the reason. There are no checksums to verify: the identity of the rows is the SHA-256 of
 * the files' bytes (digests.ts), and what a file says of itself is held against its size (arrow/).
 */
import { ArrowFile, type Message } from '../arrow/file.ts';
import type { Batch, Range } from '../arrow/message.ts';
import type { Field } from '../arrow/schema.ts';
import type { StageContext } from '../context.ts';
import { Digests } from '../digests.ts';
import { hashOf } from '../files.ts';
import { filesOfState } from '../text/dataset.ts';
import type { ActivationBlock, BlockSource, HookWidth } from './block-source.ts';
import {
  activationFields,
  badDataset,
  foreignBlock,
  hasTokenColumn,
  REMEDY,
  type Shape,
  shapeOf,
  type Table,
} from './foreign-columns.ts';

const ASKING = {
  kind: 'bad-dataset-folder',
  expected: 'a whole Arrow IPC stream or file, not compressed',
  todo: REMEDY,
};

/** Where a record batch lies. */
interface BatchPlace {
  file: string;
  fields: readonly Field[];
  batch: Batch;
  body: Range;
}

/** Opens a `datasets` folder of activations as blocks, read-only. */
export async function openForeign(dir: string, context: StageContext): Promise<BlockSource> {
  const files = await filesOfState(dir);
  const places: BatchPlace[] = [];
  for (const file of files) {
    context.signal.throwIfAborted();
    places.push(...(await scan(file)));
  }
  if (!places.length) throw badDataset(dir, 'rows', 'none');
  const shape = await withTable(places[0]!, (table) => shapeOf(table, activationFields(table)));
  const digests = await (await Digests.open()).of(files, context, 'hash rows');
  const contentHash = hashOf({ format: 'datasets', files: digests });
  return new ForeignShards(shape, contentHash, places);
}

class ForeignShards implements BlockSource {
  readonly hooks: readonly HookWidth[];
  readonly blockRows: readonly number[];
  readonly contentHash: string;
  readonly hasTokens: boolean;
  readonly #context: number;
  readonly #places: readonly BatchPlace[];

  constructor({ hooks, context }: Shape, contentHash: string, places: BatchPlace[]) {
    this.hooks = hooks;
    this.blockRows = places.map(({ batch }) => batch.rows * context);
    this.contentHash = contentHash;
    this.hasTokens = places.every(({ fields }) => hasTokenColumn(fields));
    this.#context = context;
    this.#places = places;
  }

  async readBlock(index: number): Promise<ActivationBlock> {
    const firstRow = this.blockRows.slice(0, index).reduce((sum, rows) => sum + rows, 0);
    const shape = { hooks: this.hooks, context: this.#context };
    return withTable(this.#places[index]!, (table) => foreignBlock(table, shape, firstRow / this.#context));
  }

  async close(): Promise<void> {}
}

/** Finds the record batches with rows by the messages' headers alone. */
async function scan(path: string): Promise<BatchPlace[]> {
  const file = await ArrowFile.open(path, ASKING);
  try {
    const places: BatchPlace[] = [];
    for await (const message of file.messages()) if (hasRows(message)) places.push(placeOf(file, message));
    return places;
  } finally {
    await file.close();
  }
}

const hasRows = ({ content }: Message) => content.kind === 'batch' && content.batch.rows > 0;

function placeOf({ path, fields }: ArrowFile, { content, body }: Message): BatchPlace {
  const { batch } = content as Message['content'] & { kind: 'batch' };
  return { file: path, fields, batch, body };
}

/** One batch's columns, while its file is open. */
async function withTable<T>(
  { file: path, fields, batch, body }: BatchPlace,
  use: (table: Table) => Promise<T>,
): Promise<T> {
  const file = await ArrowFile.open(path, ASKING);
  try {
    return await use({
      where: path,
      fields,
      rows: batch.rows,
      column: (index) => file.loadOf(fields, index, batch, body),
    });
  } finally {
    await file.close();
  }
}
