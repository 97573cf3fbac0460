/**
 * @file The element types of safetensors files (huggingface/safetensors, `dtype.rs`): their sizes, their order in a
 * written file, and conversion to and from typed arrays. 16-bit floats are widened to float32 on reading, since
 * everything here computes in float32. Float8 and smaller types can be listed but not read.
 */
import { internal } from '../errors.ts';
import { fromHalf, toHalf } from '../shards/float16.ts';

/** Bytes per element. The order of the keys is the format's own: a written file holds later types first. */
export const dtypeBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  C64: 8,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

/** Name of an element type in a safetensors header. */
export type Dtype = keyof typeof dtypeBytes;

/** What a tensor's elements are held in once read. F16 and BF16 become Float32Array. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** True if `name` is an element type of the format. */
export function isDtype(name: unknown): name is Dtype {
  return typeof name === 'string' && Object.hasOwn(dtypeBytes, name);
}

/** Elements from little-endian bytes; `bytes` starts at offset 0 of its own buffer. Undefined if the type cannot be read. */
export function decodeElements(dtype: Dtype, bytes: Uint8Array): TypedArray | undefined {
  const { buffer } = bytes;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer);
    case 'F16':
      return fromHalf(new Uint16Array(buffer));
    case 'BF16':
      return fromBfloat16(new Uint16Array(buffer));
    case 'F64':
      return new Float64Array(buffer);
    case 'I64':
      return new BigInt64Array(buffer);
    case 'U64':
      return new BigUint64Array(buffer);
    case 'I32':
      return new Int32Array(buffer);
    case 'U32':
      return new Uint32Array(buffer);
    case 'I16':
      return new Int16Array(buffer);
    case 'U16':
      return new Uint16Array(buffer);
    case 'I8':
      return new Int8Array(buffer);
    case 'U8':
    case 'BOOL':
      return new Uint8Array(buffer);
    default:
      return undefined;
  }
}

/** Little-endian bytes of `data` as `dtype`. F16 and BF16 are rounded from a Float32Array, ties to even. */
export function encodeElements(dtype: Dtype, data: TypedArray): Uint8Array {
  let stored = data;
  if (data instanceof Float32Array && dtype === 'F16') stored = toHalf(data);
  if (data instanceof Float32Array && dtype === 'BF16') stored = toBfloat16(data);
  if (stored.BYTES_PER_ELEMENT !== dtypeBytes[dtype]) internal(`${data.constructor.name} given as ${dtype}`);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

/** The type a typed array is written as unless said otherwise. */
export function dtypeOf(data: TypedArray): Dtype {
  if (data instanceof Float32Array) return 'F32';
  if (data instanceof Float64Array) return 'F64';
  if (data instanceof Int32Array) return 'I32';
  if (data instanceof BigInt64Array) return 'I64';
  if (data instanceof BigUint64Array) return 'U64';
  if (data instanceof Uint32Array) return 'U32';
  if (data instanceof Int16Array) return 'I16';
  if (data instanceof Uint16Array) return 'U16';
  if (data instanceof Int8Array) return 'I8';
  return 'U8';
}

/** Any element type as float32 (64-bit numbers are rounded). */
export function asFloat32(data: TypedArray): Float32Array {
  if (data instanceof Float32Array) return data;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float32Array.from(data, Number);
  return Float32Array.from(data);
}

/** bfloat16 is the upper half of a float32. */
export function fromBfloat16(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < bits.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** Rounds to nearest, ties to even; a NaN stays a NaN. */
export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (b) => {
    if ((b & 0x7fffffff) > 0x7f800000) return (b >>> 16) | 0x40;
    return (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  });
}
