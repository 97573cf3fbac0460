/**
 * @file The tfjs backend `native`: tfjs's CPU backend, whose data are typed arrays, with recycled memory and C++ kernels
 * in place of the JavaScript ones that matter. What has no C++ kernel runs as on the CPU backend.
 */
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { internal } from '../../errors.ts';
import { numberFromEnvironment } from '../../number-text.ts';
import type { NativeAddon } from '../native.ts';
import type * as tf from '../tf.ts';
import { BufferPool, type PoolStatistics } from './native-pool.ts';

/** Data types of the arrays that kernels here work on. */
export type NumericType = 'float32' | 'int32' | 'bool';
/** The array that holds a tensor of that type. */
export type ArrayOf<D extends NumericType> = D extends 'float32'
  ? Float32Array
  : D extends 'int32'
    ? Int32Array
    : Uint8Array;

/** An output: its array, to be filled by a kernel (it holds old values), and what tfjs calls it. */
export interface Output<D extends NumericType> {
  info: tf.TensorInfo;
  array: ArrayOf<D>;
}

const arrayTypes = { float32: Float32Array, int32: Int32Array, bool: Uint8Array } as const;

/** Idle memory that may wait for its next use: `UNFOLD_POOL_MB`, by default 256. */
function poolLimit(): number {
  return (numberFromEnvironment('UNFOLD_POOL_MB', { least: 0 }) ?? 256) * 2 ** 20;
}

export class NativeBackend extends MathBackendCPU {
  readonly addon: NativeAddon;
  readonly #pool = new BufferPool(poolLimit());

  constructor(addon: NativeAddon) {
    super();
    this.addon = addon;
  }

  /** An output in recycled memory; fill all of it. */
  makeOutputPooled<D extends NumericType>(shape: number[], dtype: D): Output<D> {
    const length = sizeOf(shape);
    const Type = arrayTypes[dtype];
    const buffer = this.#pool.take(length * Type.BYTES_PER_ELEMENT);
    const array = new Type(buffer, 0, length) as unknown as ArrayOf<D>;
    return { info: { dataId: this.write(array, shape, dtype), shape, dtype }, array };
  }

  /** A tensor's elements, to be read while the kernel runs: a view that must not be kept. */
  read_<D extends NumericType>(tensor: tf.TensorInfo, dtype: D): ArrayOf<D> {
    const { values } = this.data.get(tensor.dataId);
    const Type = arrayTypes[dtype];
    if (values instanceof Type) return values as unknown as ArrayOf<D>;
    // The CPU backend's own casts to a wider type change the tensor's type and leave the array.
    return Type.from(values as unknown as ArrayLike<number>) as unknown as ArrayOf<D>;
  }

  f32(tensor: tf.TensorInfo): Float32Array {
    return this.read_(tensor, 'float32');
  }

  i32(tensor: tf.TensorInfo): Int32Array {
    return this.read_(tensor, 'int32');
  }

  /**
   * A tensor's elements, to be changed in place. Where a slice or an array that `dataSync` returned shares the memory,
   * the tensor gets a copy of its own first, so nobody else sees the change; tensors that share the data itself
   * (a reshape, the tensor a variable was made from) do see it.
   */
  writable(tensor: tf.TensorInfo): Float32Array {
    const entry = this.data.get(tensor.dataId);
    const old = this.f32(tensor);
    if (entry.values === old && this.#pool.exclusive(old.buffer)) return old;
    const own = new Float32Array(this.#pool.take(old.byteLength));
    own.set(old);
    if (ArrayBuffer.isView(entry.values)) this.#pool.release(entry.values.buffer);
    this.#pool.retain(own.buffer);
    entry.values = own;
    return own;
  }

  /** Another tensor over the same data: reshapes cost nothing. */
  alias(tensor: tf.TensorInfo, shape: number[]): tf.TensorInfo {
    this.incRef(tensor.dataId);
    return { dataId: tensor.dataId, shape, dtype: tensor.dtype };
  }

  poolStatistics(): PoolStatistics {
    return this.#pool.statistics();
  }

  /** Gives idle memory back to the system. */
  clearPool(): void {
    this.#pool.clear();
  }

  override write(
    values: Parameters<MathBackendCPU['write']>[0],
    shape: number[],
    dtype: tf.DataType,
  ): object {
    // Set by hand: the base class advertises another package on its first use.
    (this as unknown as { firstUse: boolean }).firstUse = false;
    if (ArrayBuffer.isView(values)) this.#pool.retain(values.buffer);
    return super.write(values, shape, dtype);
  }

  override move(...args: Parameters<MathBackendCPU['move']>): void {
    super.move(...args);
  }

  override readSync(dataId: object): ReturnType<MathBackendCPU['readSync']> {
    const values = super.readSync(dataId);
    if (ArrayBuffer.isView(values)) this.#pool.escape(values.buffer);
    return values;
  }

  override async read(dataId: object): Promise<ReturnType<MathBackendCPU['readSync']>> {
    return this.readSync(dataId);
  }

  override disposeData(dataId: object, force = false): boolean {
    const values = this.data.has(dataId) ? this.data.get(dataId).values : undefined;
    const gone = super.disposeData(dataId, force);
    if (gone && ArrayBuffer.isView(values)) this.#pool.release(values.buffer);
    return gone;
  }
}

/** Elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const n of shape) size *= n;
  return size;
}

/** The backend of a kernel call, as ours. */
export function asNative(backend: unknown): NativeBackend {
  if (backend instanceof NativeBackend) return backend;
  return internal('a kernel of backend native was called on another backend');
}
