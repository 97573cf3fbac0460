/** @file Files of coders with one number changed: what a run that diverged, or a bad disk, leaves behind. */
import { readFile, writeFile } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { asFloat32 } from '../../../src/model/dtypes.ts';
import { readSafetensors } from '../../../src/model/safetensors.ts';
import { writeSafetensors } from '../../../src/model/safetensors-write.ts';

/** Puts `value` into one entry of a tensor of a safetensors file; without a name into its first tensor. */
export async function spoilSafetensors(path: string, value: number, name?: string): Promise<string> {
  const all = await readSafetensors(path);
  const spoilt = name ?? [...all.keys()][0]!;
  const tensors = new Map(
    [...all].map(([key, { shape, data }]) => [key, { shape, data: asFloat32(data).slice() }]),
  );
  tensors.get(spoilt)!.data[0] = value;
  await writeSafetensors(path, tensors);
  return spoilt;
}

/** Puts `value` into the first number of a storage of a file of torch.save, and mends its checksum. */
export async function spoilTorch(path: string, value: number, storage: string): Promise<void> {
  const bytes = await readFile(path);
  for (let at = 0; ; at++) {
    at = bytes.indexOf('PK\u0001\u0002', at, 'latin1');
    if (at < 0) throw new Error(`no storage ${storage}`);
    const name = bytes.toString('latin1', at + 46, at + 46 + bytes.readUInt16LE(at + 28));
    if (!name.endsWith(`/data/${storage}`)) continue;
    const local = bytes.readUInt32LE(at + 42);
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    bytes.writeFloatLE(value, start);
    bytes.writeUInt32LE(crc32(bytes.subarray(start, start + bytes.readUInt32LE(at + 24))), at + 16);
    return writeFile(path, bytes);
  }
}
