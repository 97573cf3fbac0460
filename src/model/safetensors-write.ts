/**
 * @file Writing safetensors files, byte for byte as huggingface/safetensors does: tensors by falling type (largest
 * alignment first), then by name; a compact header padded with spaces to a multiple of eight. The file appears
 * atomically.
 */
import { UnfoldError } from '../errors.ts';
import { writeAtomically } from '../files.ts';
import { type Dtype, dtypeBytes, dtypeOf, encodeElements, type TypedArray } from './dtypes.ts';
import { refuseOverflow } from './finite.ts';

/** A tensor to be written, row-major. */
export interface TensorToWrite {
  shape: readonly number[];
  data: TypedArray;
  /** Type in the file; by default that of the array. F16 and BF16 are rounded from a Float32Array. */
  dtype?: Dtype;
}

/** Named tensors, as a map or a plain object. */
export type TensorsToWrite = ReadonlyMap<string, TensorToWrite> | Record<string, TensorToWrite>;

/**
 * Writes `tensors` to `path`, beside it first, then renamed. Python: `safetensors.torch.load_file(path)`.
 * @throws UnfoldError `disk-full`; `bad-tensor` if a shape does not match its data, `not-finite` if a number is beyond its
 * type (nothing is written then).
 */
export async function writeSafetensors(
  path: string,
  tensors: TensorsToWrite,
  metadata: Record<string, string> = {},
): Promise<void> {
  const sorted = inFileOrder(path, tensors);
  const header = headerBytes(sorted, metadata);
  await writeAtomically(path, async (file) => {
    await file.writeFile(header);
    for (const { dtype, data } of sorted) await file.writeFile(encodeElements(dtype, data));
  });
}

interface Entry {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
  data: TypedArray;
}

const order = Object.keys(dtypeBytes);

function inFileOrder(path: string, tensors: TensorsToWrite): Entry[] {
  const named =
    tensors instanceof Map ? [...tensors] : Object.entries(tensors as Record<string, TensorToWrite>);
  return named
    .map(([name, { shape, data, dtype = dtypeOf(data) }]) => {
      const elements = shape.reduce((product: number, size: number) => product * size, 1);
      refuseOverflow(data, dtype, `${path}: tensor ${name}`);
      if (elements === data.length) return { name, dtype, shape, data };
      throw new UnfoldError('bad-tensor', {
        where: `${path}: tensor ${name}`,
        expected: `${elements} elements for shape [${shape.join(', ')}]`,
        found: `${data.length} elements`,
        todo: 'give the shape of the data',
      });
    })
    .sort(
      (a, b) =>
        order.indexOf(b.dtype) - order.indexOf(a.dtype) || Buffer.from(a.name).compare(Buffer.from(b.name)),
    );
}

function headerBytes(entries: Entry[], metadata: Record<string, string>): Buffer {
  // Joined by hand: as keys of an object, names such as "0" would be moved to the front.
  const parts: string[] = [];
  const add = (key: string, value: unknown) => parts.push(`${JSON.stringify(key)}:${JSON.stringify(value)}`);
  if (Object.keys(metadata).length) add('__metadata__', metadata);
  let at = 0;
  for (const { name, dtype, shape, data } of entries) {
    const end = at + data.length * dtypeBytes[dtype];
    add(name, { dtype, shape, data_offsets: [at, end] });
    at = end;
  }
  const json = Buffer.from(`{${parts.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = Buffer.alloc(8 + padded, ' ');
  bytes.writeBigUInt64LE(BigInt(padded));
  json.copy(bytes, 8);
  return bytes;
}
