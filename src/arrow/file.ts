/**
 * @file Arrow IPC files of both formats, stream and file, as a sequence of messages, with the bytes of their bodies read
 * where they are wanted. The file format is the stream's messages with a footer that lists them; its lists are taken, as
 * they are the order that counts. Every place is held against the size of the file, no two overlap, so a walk ends.
 */
import type { FileHandle } from 'node:fs/promises';
import { UnfoldError } from '../errors.ts';
import { openToRead } from '../read.ts';
import { type Column, loadColumn } from './column.ts';
import { Damage, Table } from './flatbuffer.ts';
import { type Batch, type Content, type Range, readMessage } from './message.ts';
import { type Field, readSchema } from './schema.ts';

/** What the lessons say. */
export interface Asking {
  kind: string;
  expected: string;
  todo: string;
}

/** A message and where its body begins in the file. */
export interface Message {
  content: Content;
  body: Range;
}

/** Longer metadata is damage: of 10,000 columns it has 2 MB. 64 MiB. */
const MOST_METADATA = 2 ** 26;
const MAGIC = 'ARROW1';
/** The footer's length and the magic at the end of the file format. */
const TAIL = 10;
const FOOTER = { version: 0, schema: 1, dictionaries: 2, batches: 3 };

/** An open Arrow file. */
export class ArrowFile {
  readonly path: string;
  readonly #asking: Asking;
  readonly #file: FileHandle;
  readonly #size: number;
  #fields: Field[] = [];

  private constructor(path: string, asking: Asking, file: FileHandle, size: number) {
    this.path = path;
    this.#asking = asking;
    this.#file = file;
    this.#size = size;
  }

  /** @throws UnfoldError of the asked kind for what is no regular file */
  static async open(path: string, asking: Asking): Promise<ArrowFile> {
    const file = await openToRead(path, asking);
    return new ArrowFile(path, asking, file, (await file.stat()).size);
  }

  /** The columns; known from the first message on. */
  get fields(): readonly Field[] {
    return this.#fields;
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  /**
   * Dictionaries and record batches in their order; nothing of their bodies is read.
   * @throws UnfoldError that says what is damaged
   */
  async *messages(): AsyncGenerator<Message> {
    try {
      const start = await this.#read({ offset: 0, length: Math.min(this.#size, MAGIC.length) });
      if (start.toString('latin1') === MAGIC) yield* this.#listed();
      else yield* this.#stream();
    } catch (error) {
      throw this.explain(error);
    }
  }

  /** A column of a batch of this file. @throws UnfoldError that says what is damaged */
  async load(index: number, batch: Batch, body: Range): Promise<Column> {
    return this.loadOf(this.#fields, index, batch, body);
  }

  /** A column of a batch with other columns: a dictionary's. @throws UnfoldError that says what is damaged */
  async loadOf(fields: readonly Field[], index: number, batch: Batch, body: Range): Promise<Column> {
    try {
      return await loadColumn(fields, index, batch, ({ offset, length }) =>
        this.#read({ offset: body.offset + offset, length }),
      );
    } catch (error) {
      throw this.explain(error, `: the batch at byte ${body.offset}`);
    }
  }

  /** Damage as a lesson; anything else passes through. */
  explain(error: unknown, place = ''): unknown {
    if (!(error instanceof Damage)) return error;
    const compressed = /compress/.test(error.message);
    const { kind, expected, todo } = this.#asking;
    return new UnfoldError(kind, {
      where: `${this.path}${place}`,
      expected,
      found: error.message,
      todo: compressed
        ? 'write it again without compression: pyarrow.ipc.IpcWriteOptions(compression=None), or as Parquet'
        : todo,
      cause: error,
    });
  }

  async *#stream(): AsyncGenerator<Message> {
    let known = false;
    for (let at = 0; at < this.#size; ) {
      const message = await this.#messageAt(at);
      if (!message) break;
      const { content, body } = message;
      at = body.offset + body.length;
      if (content.kind === 'schema') {
        if (known) throw new Damage(`a second schema before byte ${at}`);
        [this.#fields, known] = [content.fields, true];
      } else if (known) yield message;
      else throw new Damage('rows before any schema');
    }
    if (!known) throw new Damage('a file without a schema');
  }

  async *#listed(): AsyncGenerator<Message> {
    const { fields, dictionaries, batches, end } = await this.#footer();
    this.#fields = fields;
    const limits = limitsOf([...dictionaries, ...batches], end);
    for (const [kind, places] of [
      ['dictionary', dictionaries],
      ['batch', batches],
    ] as const)
      for (const place of places) {
        const message = await this.#messageAt(place);
        if (message?.content.kind !== kind)
          throw new Damage(`no ${kind} at byte ${place}, where the footer says that one is`);
        if (message.body.offset + message.body.length > limits.get(place)!)
          throw new Damage(`a message at byte ${place} that goes on beyond byte ${limits.get(place)}`);
        yield message;
      }
  }

  async #footer() {
    const tail = await this.#read({ offset: Math.max(0, this.#size - TAIL), length: TAIL });
    if (tail.toString('latin1', 4) !== MAGIC) throw new Damage(`a file that does not end in ${MAGIC}`);
    const length = tail.readInt32LE(0);
    const end = this.#size - TAIL - length;
    if (length <= 0 || length > MOST_METADATA || end < MAGIC.length)
      throw new Damage(`a footer of ${length} bytes`);
    const footer = Table.root(await this.#read({ offset: end, length }));
    const fields = readSchema(footer.needed(FOOTER.schema, 'schema'), footer.int16(FOOTER.version));
    const places = (field: number) => footer.structs(field, 3).map(([offset]) => offset!);
    return { fields, dictionaries: places(FOOTER.dictionaries), batches: places(FOOTER.batches), end };
  }

  /** The message at a place; undefined at the mark that ends a stream. */
  async #messageAt(at: number): Promise<Message | undefined> {
    const prefix = await this.#read({ offset: at, length: Math.min(8, this.#size - at) });
    // Before Arrow 0.15 there was no mark in front of the length.
    const marked = prefix.length >= 4 && prefix.readInt32LE(0) === -1;
    const from = at + (marked ? 8 : 4);
    if (prefix.length < (marked ? 8 : 4)) throw new Damage(`${prefix.length} bytes at byte ${at}`);
    const length = prefix.readInt32LE(marked ? 4 : 0);
    if (length === 0) return undefined;
    if (length < 0 || length > MOST_METADATA || from + length > this.#size)
      throw new Damage(`a message of ${length} bytes at byte ${at} of ${this.#size}`);
    const { content, bodyLength } = decoded(await this.#read({ offset: from, length }), at);
    const body = { offset: from + length, length: bodyLength };
    if (body.offset + bodyLength > this.#size)
      throw new Damage(`a body of ${bodyLength} bytes at byte ${body.offset} of ${this.#size}`);
    return { content, body };
  }

  async #read({ offset, length }: Range): Promise<Buffer> {
    const bytes = roomFor(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.#file.read(bytes, done, length - done, offset + done);
      if (bytesRead === 0) throw new Damage(`the end of the file at byte ${offset + done}`);
      done += bytesRead;
    }
    return bytes;
  }
}

/** How far the message at each place may go: none overlaps another, else a small file could be said to hold any number. */
function limitsOf(places: readonly number[], end: number): Map<number, number> {
  const sorted = [...places].sort((a, b) => a - b);
  const limits = new Map(sorted.map((place, i) => [place, sorted[i + 1] ?? end]));
  if (limits.size === places.length && (sorted.at(-1) ?? 0) < end) return limits;
  throw new Damage('a footer that names a place twice, or one behind itself');
}

function decoded(metadata: Buffer, at: number) {
  try {
    return readMessage(metadata);
  } catch (error) {
    throw error instanceof Damage ? new Damage(`${error.message} (the message at byte ${at})`) : error;
  }
}

function roomFor(length: number): Buffer {
  try {
    return Buffer.allocUnsafeSlow(length);
  } catch {
    throw new Damage(`a buffer of ${length} bytes, more than there is memory for`);
  }
}
