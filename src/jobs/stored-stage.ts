/**
 * @file Whether a stage is finished on an object store: its stage.json is of the key, unchanged by its own checksum, and what
 * it lists is there in the sizes that it says. Small files are read and hashed; large ones are checked when they are used.
 */
import { createHash } from 'node:crypto';
import { UnfoldError } from '../errors.ts';
import { type FileRecord, recordsOf } from '../inventory.ts';
import type { StageManifest } from '../pipeline/stage.ts';
import { sealOf } from '../seal.ts';
import { readStoredJson, storeOf } from '../storage/open.ts';
import { inParallel } from '../storage/parallel.ts';
import type { ArtifactStore } from '../storage/store.ts';

/** Files up to this size are read, bytes: one answer of a store. */
const SMALL = 2 ** 16;
const AT_ONCE = 6;

/** The manifest of the stage in `folder`, if it is of this key and everything agrees with it. */
export async function storedFinish(
  out: string,
  folder: string,
  key: string,
): Promise<StageManifest | undefined> {
  const manifest = await readStoredJson(out, `${folder}/stage.json`).catch(ifUnreadable);
  if ((manifest as StageManifest | undefined)?.key !== key || sealOf(manifest) === 'broken') return undefined;
  const records = recordsOf(manifest);
  const damaged = records.length > 0 ? await damagedIn(await storeOf(out), folder, records) : [];
  return damaged.length === 0 ? (manifest as StageManifest) : undefined;
}

/** A damaged manifest is none: the stage is made again. */
function ifUnreadable(error: unknown): undefined {
  if (error instanceof UnfoldError && ['bad-json', 'damaged'].includes(error.kind)) return undefined;
  throw error;
}

/** Names of the files that are missing, of another size, or small and of other bytes. */
export async function damagedIn(
  store: ArtifactStore,
  folder: string,
  records: readonly FileRecord[],
): Promise<string[]> {
  const sizes = new Map<string, number>();
  for await (const { name, bytes } of store.list(folder)) sizes.set(name, bytes);
  const damaged: string[] = [];
  await inParallel(records, AT_ONCE, async ({ file, bytes, sha256 }) => {
    const name = `${folder}/${file}`;
    const isSized = sizes.get(name) === bytes;
    if (!isSized || (bytes <= SMALL && (await hashOfStored(store, name)) !== sha256)) damaged.push(file);
  });
  return damaged.sort();
}

async function hashOfStored(store: ArtifactStore, name: string): Promise<string | undefined> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of await store.read(name)) hash.update(chunk as Buffer);
  } catch (error) {
    if (error instanceof UnfoldError && ['missing-file', 'damaged'].includes(error.kind)) return undefined;
    throw error;
  }
  return hash.digest('hex');
}
