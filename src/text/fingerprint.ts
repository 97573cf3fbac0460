/**
 * @file The content hash of a dataset. Hashes of files are remembered by path, size and time of change, so that a
 * corpus of many gigabytes is hashed once; whatever a manifest says is checked against the bytes.
 */
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { exists, readJson, sha256File, writeJson } from '../files.ts';
import { type Dataset, datasetHash } from './dataset.ts';

const memorySchema = z.record(
  z.string(),
  z.object({ bytes: z.number(), changed: z.number(), sha256: z.string() }),
);
type Memory = z.infer<typeof memorySchema>;

/** Below this a file is simply hashed again. */
const WORTH_REMEMBERING = 64 * 2 ** 20;

/** SHA-256 over the dataset's files; `cacheDir` null remembers nothing. @throws UnfoldError `bad-manifest`. */
export async function fingerprint(
  dataset: Dataset,
  cacheDir: string | null,
  context: StageContext,
): Promise<string> {
  const path = cacheDir === null ? null : join(cacheDir, 'hashes.json');
  const memory = await recall(path);
  const total = dataset.files.reduce((sum, { bytes }) => sum + bytes, 0);
  const bar = total > 4 * WORTH_REMEMBERING ? context.bar('hash dataset', total, 'bytes') : undefined;
  const digests: string[] = [];
  let done = 0;
  for (const file of dataset.files) {
    context.signal.throwIfAborted();
    const digest = await digestOf(file.path, memory);
    if (file.sha256 !== undefined && file.sha256 !== digest) throw changed(file.path, file.sha256, digest);
    digests.push(digest);
    done += file.bytes;
    bar?.update(done);
  }
  bar?.finish();
  // Only a memory: where it cannot be written the files are hashed again.
  if (path !== null && Object.keys(memory).length > 0) await writeJson(path, memory).catch(() => {});
  return datasetHash(digests, dataset);
}

async function recall(path: string | null): Promise<Memory> {
  if (path === null || !(await exists(path))) return {};
  const parsed = memorySchema.safeParse(await readJson(path).catch(() => ({})));
  return parsed.success ? parsed.data : {};
}

async function digestOf(path: string, memory: Memory): Promise<string> {
  const { size, mtimeMs } = await stat(path);
  const known = memory[resolve(path)];
  if (known?.bytes === size && known.changed === mtimeMs) return known.sha256;
  const digest = await sha256File(path);
  if (size >= WORTH_REMEMBERING) memory[resolve(path)] = { bytes: size, changed: mtimeMs, sha256: digest };
  return digest;
}

function changed(path: string, expected: string, found: string): UnfoldError {
  return new UnfoldError('bad-manifest', {
    where: path,
    expected: `SHA-256 ${expected.slice(0, 16)}…, as the manifest says`,
    found: `${found.slice(0, 16)}…`,
    todo: 'fetch the dataset again, or write the new hash into the manifest if the change was meant',
  });
}
