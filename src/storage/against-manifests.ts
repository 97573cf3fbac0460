/**
 * @file A copied folder held against the manifests in it: a copy is as good as what was copied, and what was damaged before
 * is named. Hashes come from the copying itself; nothing is read twice.
 */
import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import type { FileRecord } from '../inventory.ts';
import { parseJson } from '../read.ts';
import { sealOf } from '../seal.ts';
import { vouchedBy } from '../verify/vouched.ts';
import { type LocalFile, readFolder } from './local-folder.ts';
import { checkpointOf } from './order.ts';
import type { SyncRecord } from './record.ts';

/** JSON above this is no manifest of ours, bytes. */
const MOST_JSON = 2 ** 26;

/**
 * Names of files in `dir` that are not what a manifest in it says; each is warned about.
 * @param record knows the hashes of what was copied
 */
export async function damagedAgainstManifests(
  dir: string,
  record: SyncRecord,
  context: StageContext,
): Promise<string[]> {
  const { files } = await readFolder(dir);
  const byName = new Map(files.map((file) => [file.name, file]));
  const damaged = new Map<string, string>();
  for (const file of files) {
    if (extname(file.name) !== '.json' || file.bytes > MOST_JSON) continue;
    context.signal.throwIfAborted();
    const { records, fault } = await listedBy(file);
    if (fault !== undefined) damaged.set(file.name, fault);
    for (const one of records) {
      const name = join(dirname(file.name), one.file);
      if (checkpointOf(name) !== undefined && !byName.has(name)) continue;
      const found = await differenceOf(byName.get(name), one, record);
      if (found !== undefined && !damaged.has(name)) damaged.set(name, `${found}, as ${file.name} says`);
    }
  }
  for (const [name, words] of damaged)
    context.warn(`${join(dir, name)} is damaged: ${words}; unfold verify says how it is made again`);
  return [...damaged.keys()].sort();
}

async function listedBy({ name, path }: LocalFile): Promise<{ records: FileRecord[]; fault?: string }> {
  try {
    const json = parseJson(await readFile(path, 'utf8'), path);
    const vouching = vouchedBy(path, json);
    if (vouching && sealOf(json) === 'broken')
      return { records: [], fault: 'another content than its checksum (seal) was made of' };
    return { records: vouching?.records ?? [] };
  } catch (error) {
    if (!(error instanceof UnfoldError)) throw error;
    return basename(name) === 'stage.json' || basename(name) === 'manifest.json'
      ? { records: [], fault: error.lesson.found }
      : { records: [] };
  }
}

async function differenceOf(
  file: LocalFile | undefined,
  { bytes, sha256 }: FileRecord,
  record: SyncRecord,
): Promise<string | undefined> {
  if (!file) return 'no such file';
  if (file.bytes !== bytes) return `${file.bytes} bytes instead of ${bytes}`;
  return (await record.sha256(file)) === sha256 ? undefined : 'other bytes than those with its SHA-256';
}
