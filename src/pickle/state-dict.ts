/**
 * @file A state dictionary in a file of torch, looked at as the safetensors reader looks at its files: tensors by name,
 * read when asked for, and beside them the plain values that some libraries put there (`activation`, `k`).
 */
import { nearest } from '../errors.ts';
import { asFloat32, dtypeBytes } from '../model/dtypes.ts';
import type { TensorData, TensorInfo, TensorSource } from '../model/safetensors.ts';
import { describe } from './rebuild.ts';
import { badTorchFile } from './torch-content.ts';
import { openTorchFile, type TorchFile } from './torch-file.ts';
import { type PickleValue, TorchTensor } from './values.ts';

/** Tensors and plain values by name. */
export class StateDict implements TensorSource {
  readonly path: string;
  readonly files: readonly string[];
  readonly metadata: Record<string, string> = {};
  /** Entries that are not tensors. */
  readonly values: ReadonlyMap<string, PickleValue>;
  readonly #file: TorchFile;
  readonly #tensors: ReadonlyMap<string, TorchTensor>;

  constructor(file: TorchFile, tensors: Map<string, TorchTensor>, values: Map<string, PickleValue>) {
    this.path = file.path;
    this.files = [file.path];
    this.values = values;
    this.#file = file;
    this.#tensors = tensors;
  }

  names(): string[] {
    return [...this.#tensors.keys()];
  }

  info(name: string): TensorInfo | undefined {
    const tensor = this.#tensors.get(name);
    if (!tensor) return undefined;
    const { dtype } = tensor.storage;
    const shape = [...tensor.shape];
    return { name, dtype, shape, begin: 0, end: shape.reduce((a, b) => a * b, dtypeBytes[dtype]) };
  }

  async read(name: string): Promise<TensorData> {
    const tensor = this.#tensors.get(name);
    if (tensor) return this.#file.read(tensor);
    const near = nearest(name, this.names()).join(', ');
    throw badTorchFile(this.path, { expected: `a tensor ${name}`, found: `others: ${near || 'none'}` });
  }

  async readFloat32(name: string): Promise<Float32Array> {
    return asFloat32((await this.read(name)).data);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/**
 * Opens a file that holds a dictionary of tensors.
 * @throws UnfoldError `missing-file`, `bad-pickle`, `unsafe-pickle`
 */
export async function openStateDict(path: string): Promise<StateDict> {
  const file = await openTorchFile(path);
  const tensors = new Map<string, TorchTensor>();
  const values = new Map<string, PickleValue>();
  if (!(file.value instanceof Map)) {
    await file.close();
    throw badTorchFile(path, { expected: 'a dictionary of tensors by name', found: describe(file.value) });
  }
  for (const [name, value] of file.value) {
    if (typeof name !== 'string') {
      await file.close();
      throw badTorchFile(path, { expected: 'tensors by name', found: `an entry under ${describe(name)}` });
    }
    if (value instanceof TorchTensor) tensors.set(name, value);
    else values.set(name, value);
  }
  return new StateDict(file, tensors, values);
}
