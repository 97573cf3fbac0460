/**
 * @file A block becomes an Arrow record batch becomes bytes. Arrow's own writer makes the messages; this subclass of
 * it keeps the pieces instead of queueing a copy, so the activations go from the harvest's buffer to the disk as they
 * are. The same bytes come out for the same rows, always: nothing in a stream depends on time or place.
 */
import {
  type Data,
  DataType,
  FixedSizeList,
  Float16,
  Float32,
  Int32,
  makeData,
  Precision,
  RecordBatch,
  RecordBatchStreamWriter,
  type Schema,
  Struct,
  Uint16,
  Uint32,
} from 'apache-arrow';
import { internal } from '../errors.ts';
import type { ActivationBlock } from './block-source.ts';
import { toHalf } from './float16.ts';

/** Pieces of a file, in order; the big ones are views on the block that was encoded. */
export type Pieces = Uint8Array[];

/** Turns blocks into the pieces of one Arrow IPC stream: {@link header}, a {@link block} each, {@link end}. */
export class BlockEncoder {
  readonly #writer = new PieceWriter();
  readonly #schema: Schema;
  readonly #header: Pieces;

  constructor(schema: Schema) {
    this.#schema = schema;
    this.#writer.reset(undefined, schema);
    this.#header = this.#writer.take();
  }

  /** The schema message, written once at the start of a file. */
  get header(): Pieces {
    return this.#header;
  }

  /**
   * One record batch. The pieces are views on the block's arrays (float16: on `halves`), which must not change until
   * they are written.
   * @param halves per float16 hook, room for [rows, width]; made here if absent
   */
  block(block: ActivationBlock, halves?: ReadonlyMap<string, Uint16Array>): Pieces {
    const { fields } = this.#schema;
    const columns = fields.map((field): Data => {
      if (field.type instanceof FixedSizeList) return activationColumn(field.type, field.name, block, halves);
      if (field.name === 'token_id') return makeData({ type: new Int32(), data: block.tokenId });
      if (field.name === 'seq_id') return makeData({ type: new Uint32(), data: block.seqId });
      return makeData({ type: new Uint16(), data: block.pos });
    });
    const children = makeData({
      type: new Struct(fields),
      length: block.rows,
      nullCount: 0,
      children: columns,
    });
    this.#writer.write(new RecordBatch(this.#schema, children));
    return this.#writer.take();
  }

  /** The end-of-stream mark. */
  end(): Pieces {
    this.#writer.finish();
    return this.#writer.take();
  }
}

/** Total length of pieces, bytes. */
export const lengthOf = (pieces: Pieces): number => pieces.reduce((sum, piece) => sum + piece.byteLength, 0);

function activationColumn(
  type: FixedSizeList,
  name: string,
  block: ActivationBlock,
  halves?: ReadonlyMap<string, Uint16Array>,
): Data {
  const values = block.activations.get(name) ?? internal(`block without rows of ${name}`);
  const { length } = values;
  const child = isHalf(type)
    ? makeData({
        type: new Float16(),
        length,
        nullCount: 0,
        data: toHalf(values, halves?.get(name)?.subarray(0, length)),
      })
    : makeData({ type: new Float32(), length, nullCount: 0, data: values });
  return makeData<FixedSizeList>({ type, length: block.rows, nullCount: 0, child });
}

/** True for a list of halves. */
const isHalf = (type: FixedSizeList): boolean =>
  DataType.isFloat(type.valueType) && type.valueType.precision === Precision.HALF;

/** Arrow's stream writer, keeping the pieces it is about to write. */
class PieceWriter extends RecordBatchStreamWriter {
  #pieces: Pieces | undefined;

  constructor() {
    super({ autoDestroy: false });
  }

  take(): Pieces {
    const pieces = this.#pieces ?? [];
    this.#pieces = [];
    return pieces;
  }

  protected override _write(chunk: ArrayBufferView): this {
    const piece = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (!piece.byteLength) return this;
    this.#pieces ??= [];
    this.#pieces.push(piece);
    this._position += piece.byteLength;
    return this;
  }
}
