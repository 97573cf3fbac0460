/**
 * @file Reading safetensors files, a tensor at a time: opening reads and checks only the header, so a model larger than
 * memory can be looked at, and a hostile file is refused before anything is allocated. Also directories whose tensors
 * are spread over shards by `NAME.safetensors.index.json` (Hugging Face's layout). The writer is safetensors-write.ts.
 */
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { internal, nearest } from '../errors.ts';
import { readJson } from '../files.ts';
import { isListed, openToRead } from '../read.ts';
import { asFloat32, type Dtype, decodeElements, type TypedArray } from './dtypes.ts';
import { badFile, type Header, headerLength, parseHeader, type TensorInfo } from './safetensors-header.ts';
import { weightMapOf } from './weight-map.ts';

export type { Dtype, TypedArray } from './dtypes.ts';
export type { TensorInfo } from './safetensors-header.ts';

/** A tensor in memory, row-major. F16 and BF16 data are already widened; `dtype` is what the file says. */
export interface TensorData {
  dtype: Dtype;
  shape: number[];
  data: TypedArray;
}

/** A set of named tensors that are read when asked for: one file, or several shards. */
export interface TensorSource {
  /** The file or index that the tensors come from, for messages. */
  readonly path: string;
  /** The files that hold the tensors. */
  readonly files: readonly string[];
  readonly metadata: Record<string, string>;
  /** Names in the order of the headers. */
  names(): string[];
  /** Type and shape without reading the data; undefined if there is no such tensor. */
  info(name: string): TensorInfo | undefined;
  /** Reads one tensor. @throws UnfoldError `bad-safetensors` if it is missing or the file ends early. */
  read(name: string): Promise<TensorData>;
  /** Reads one tensor as float32, whatever its type. */
  readFloat32(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/** More than Node reads in one call. */
const READ_BYTES = 1 << 30;

/**
 * Opens one safetensors file.
 * @throws UnfoldError `missing-file` or `bad-safetensors`.
 */
export async function openSafetensors(path: string): Promise<TensorSource> {
  const file = await openToRead(path, { expected: 'a safetensors file', todo: 'check the path' });
  try {
    const { size } = await file.stat();
    const length = headerLength(path, await readAt(file, path, 0, Math.min(8, size)), size);
    const header = parseHeader(path, await readAt(file, path, 8, length), size - 8 - length);
    return new SafetensorsFile(path, file, header);
  } catch (error) {
    await file.close();
    throw error;
  }
}

class SafetensorsFile implements TensorSource {
  readonly path: string;
  readonly files: readonly string[];
  readonly #file: FileHandle;
  readonly #header: Header;

  constructor(path: string, file: FileHandle, header: Header) {
    this.path = path;
    this.files = [path];
    this.#file = file;
    this.#header = header;
  }

  get metadata(): Record<string, string> {
    return this.#header.metadata;
  }

  names(): string[] {
    return [...this.#header.tensors.keys()];
  }

  info(name: string): TensorInfo | undefined {
    return this.#header.tensors.get(name);
  }

  async read(name: string): Promise<TensorData> {
    const info = this.info(name) ?? missing(this, name);
    const bytes = await readAt(
      this.#file,
      this.path,
      this.#header.dataStart + info.begin,
      info.end - info.begin,
    );
    const data = decodeElements(info.dtype, bytes);
    if (!data) {
      const todo = 'convert the tensor to float32 or float16';
      throw badFile(`${this.path}: tensor ${name}`, {
        expected: 'a type that can be computed with',
        found: info.dtype,
        todo,
      });
    }
    return { dtype: info.dtype, shape: info.shape, data };
  }

  async readFloat32(name: string): Promise<Float32Array> {
    return asFloat32((await this.read(name)).data);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

function missing(source: TensorSource, name: string): never {
  const near = nearest(name, source.names());
  const todo = near.length ? `nearest names: ${near.join(', ')}` : 'the file holds no tensors';
  throw badFile(source.path, {
    expected: `a tensor ${name}`,
    found: `${source.names().length} other tensors`,
    todo,
  });
}

/** `length` bytes from `position`, in a buffer of their own. */
async function readAt(file: FileHandle, path: string, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, Math.min(READ_BYTES, length - done), position + done);
    if (bytesRead === 0) {
      throw badFile(path, {
        expected: `${length} bytes at offset ${position}`,
        found: `the end of the file after ${done}`,
      });
    }
    done += bytesRead;
  }
  return bytes;
}

/**
 * Opens `DIR/NAME.safetensors`, or the shards listed in `DIR/NAME.safetensors.index.json`.
 * @throws UnfoldError `missing-file`, `bad-safetensors`, `bad-index`.
 */
export async function openTensorDirectory(dir: string, name = 'model'): Promise<TensorSource> {
  const single = join(dir, `${name}.safetensors`);
  const index = `${single}.index.json`;
  if (!(await isListed(single)) && (await isListed(index))) return openShards(index);
  return openSafetensors(single);
}

async function openShards(path: string): Promise<TensorSource> {
  const weightMap = weightMapOf(await readJson(path), path);
  const shards = new Map<string, TensorSource>();
  try {
    for (const file of new Set(Object.values(weightMap)))
      shards.set(file, await openSafetensors(join(dirname(path), file)));
    return new ShardedTensors(path, shards, weightMap);
  } catch (error) {
    await Promise.all([...shards.values()].map((shard) => shard.close()));
    throw error;
  }
}

class ShardedTensors implements TensorSource {
  readonly path: string;
  readonly #shards: Map<string, TensorSource>;
  readonly #map: Map<string, TensorSource>;

  constructor(path: string, shards: Map<string, TensorSource>, weightMap: Record<string, string>) {
    this.path = path;
    this.#shards = shards;
    this.#map = new Map(
      Object.entries(weightMap).map(([name, file]) => [name, shards.get(file) ?? internal(file)]),
    );
  }

  get files(): string[] {
    return [...this.#shards.values()].flatMap(({ files }) => files);
  }

  get metadata(): Record<string, string> {
    return Object.assign({}, ...[...this.#shards.values()].map(({ metadata }) => metadata)) as Record<
      string,
      string
    >;
  }

  names(): string[] {
    return [...this.#map.keys()];
  }

  info(name: string): TensorInfo | undefined {
    return this.#map.get(name)?.info(name);
  }

  async read(name: string): Promise<TensorData> {
    return (this.#map.get(name) ?? missing(this, name)).read(name);
  }

  async readFloat32(name: string): Promise<Float32Array> {
    return (this.#map.get(name) ?? missing(this, name)).readFloat32(name);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#shards.values()].map((shard) => shard.close()));
  }
}

/** All tensors of one file: for files known to be small. */
export async function readSafetensors(path: string): Promise<Map<string, TensorData>> {
  const source = await openSafetensors(path);
  try {
    const tensors = new Map<string, TensorData>();
    for (const name of source.names()) tensors.set(name, await source.read(name));
    return tensors;
  } finally {
    await source.close();
  }
}
