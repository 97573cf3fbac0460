/**
 * @file Opens what `torch.save` writes: the zip archive of torch 1.6 and later, the pickles and storages in a row of
 * before, and a plain pickle without tensors. Opening reads the pickle and checks that every storage is there in full;
 * numbers are read when a tensor is asked for. TorchScript archives and the tar files of torch 0.1 are left out.
 */
import type { FileHandle } from 'node:fs/promises';
import type { TensorData } from '../model/safetensors.ts';
import { openToRead } from '../read.ts';
import { gather } from './strided.ts';
import { badTorchFile, readBytes, type TorchContent } from './torch-content.ts';
import { openLegacy } from './torch-legacy.ts';
import { openZip } from './torch-zip.ts';
import type { PickleValue, TorchTensor } from './values.ts';

/** An open file of torch. */
export interface TorchFile {
  readonly path: string;
  /** What was saved. It may be cyclic, as pickles may. */
  readonly value: PickleValue;
  /** Reads one tensor. @throws UnfoldError `bad-pickle` if its bytes are damaged. */
  read(tensor: TorchTensor): Promise<TensorData>;
  close(): Promise<void>;
}

/**
 * Opens `path`.
 * @throws UnfoldError `missing-file`, `bad-pickle`, `unsafe-pickle`
 */
export async function openTorchFile(path: string): Promise<TorchFile> {
  const file = await openToRead(path, { expected: 'a file of torch.save', todo: 'check the path' });
  try {
    const { value, storage } = await content(file, path);
    return {
      path,
      value,
      async read(tensor) {
        const data = gather(tensor, await storage(tensor.storage));
        return { dtype: tensor.storage.dtype, shape: [...tensor.shape], data };
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function content(file: FileHandle, path: string): Promise<TorchContent> {
  const entry = await file.stat();
  const size = entry.isFile() ? entry.size : 0;
  const start = await readBytes(file, path, 0, Math.min(4, size));
  if (start[0] === 0x50 && start[1] === 0x4b) return openZip(file, path, size);
  if (start[0] === 0x80) return openLegacy(file, path, size);
  throw badTorchFile(path, {
    expected: 'a file of torch.save: a zip archive, or a pickle of protocol 2 or later',
    found: size
      ? `a file that begins with the bytes ${Buffer.from(start).toString('hex')}`
      : 'an empty file or a folder',
  });
}
