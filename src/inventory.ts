/**
 * @file Lists of files with sizes and SHA-256, which manifests hold of what they vouch for, and how a folder is held
 * against one: every byte, or quickly, which reads small files first until {@link QUICK_BYTES} are read and looks at the
 * sizes of the rest. What is not read then is checked when it is used: shards by their blocks, weights when they are loaded.
 */
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, sha256File } from './files.ts';
import { sealOf } from './seal.ts';

/** One file; its name is relative to whatever lists it, with slashes. */
export const fileRecordSchema = z.object({
  file: z.string(),
  bytes: z.int().nonnegative(),
  sha256: z.string(),
});
/** See {@link fileRecordSchema}. */
export type FileRecord = z.infer<typeof fileRecordSchema>;

/** A file that is not what a list says. */
export interface Damage {
  file: string;
  /** In words: "512 bytes", "SHA-256 ab12…". */
  expected: string;
  found: string;
}

/** Read by a quick check, bytes: 0.2 s of hashing. */
export const QUICK_BYTES = 2 ** 28;

/** Names of files that belong to whoever is at work, and to no result. */
const PASSING = /^\.(lock|seconds)|\.part$/;
/** Checkpoints have lists of their own, and may go. */
const OWN_LISTS = 'checkpoints';

/** Names of the results below `dir`, sorted, with slashes. Links are followed; a folder is entered once. */
export async function resultsBelow(dir: string): Promise<string[]> {
  const names: string[] = [];
  await walk(dir, '', names, new Set());
  return names.sort();
}

async function walk(dir: string, prefix: string, into: string[], seen: Set<string>): Promise<void> {
  const real = await realpath(join(dir, prefix)).catch(() => undefined);
  if (real === undefined || seen.has(real)) return;
  seen.add(real);
  for (const name of await readdir(real)) {
    if (PASSING.test(name) || name === OWN_LISTS) continue;
    const path = prefix === '' ? name : `${prefix}/${name}`;
    const found = await stat(join(dir, path)).catch(() => undefined);
    if (found?.isDirectory()) await walk(dir, path, into, seen);
    else if (found?.isFile()) into.push(path);
  }
}

/**
 * Lists the results below `dir`. What a manifest among them lists already is taken from there if sizes agree: it was hashed
 * when it was written.
 */
export async function takeInventory(
  dir: string,
  want: (file: string) => boolean = () => true,
): Promise<FileRecord[]> {
  const files = await resultsBelow(dir);
  const known = new Map<string, FileRecord>();
  for (const file of files.filter((name) => /(^|\/)manifest\.json$/.test(name))) {
    const folder = file.slice(0, -'manifest.json'.length);
    for (const record of await listedIn(join(dir, file))) known.set(`${folder}${record.file}`, record);
  }
  const records: FileRecord[] = [];
  for (const file of files.filter(want)) {
    const { size: bytes } = await stat(join(dir, file));
    const before = known.get(file);
    const sha256 = before?.bytes === bytes ? before.sha256 : await hashOfFile(join(dir, file));
    records.push({ file, bytes, sha256 });
  }
  return records;
}

/** Lists files of a folder by name, sorted. */
export async function recordFiles(dir: string, names: readonly string[]): Promise<FileRecord[]> {
  const records: FileRecord[] = [];
  for (const file of [...names].sort()) {
    const path = join(dir, file);
    records.push({ file, bytes: (await stat(path)).size, sha256: await hashOfFile(path) });
  }
  return records;
}

/** What a sound manifest lists; nothing where it lists nothing. */
export async function listedIn(path: string): Promise<FileRecord[]> {
  const manifest = await readJson(path).catch(() => undefined);
  return sealOf(manifest) === 'sound' ? recordsOf(manifest) : [];
}

/** The files that a manifest lists: `files`, and the `shards` of a harvest. */
export function recordsOf(manifest: unknown): FileRecord[] {
  const { files, shards } = (manifest ?? {}) as { files?: unknown; shards?: unknown };
  return [files, shards].flatMap((list) => z.array(fileRecordSchema).safeParse(list).data ?? []);
}

/**
 * What of the listed files is missing or differs.
 * @param how much is read: see the file
 * @param onBytes told how many bytes were looked at
 */
export async function damageOf(
  dir: string,
  records: readonly FileRecord[],
  how: 'quick' | 'all' = 'quick',
  onBytes: (bytes: number) => void = () => {},
): Promise<Damage[]> {
  const damages: Damage[] = [];
  let read = 0;
  for (const record of [...records].sort((a, b) => a.bytes - b.bytes)) {
    read += record.bytes;
    const isRead = how === 'all' || read <= QUICK_BYTES;
    const damage = await damageOfFile(join(dir, record.file), record, isRead);
    if (damage) damages.push(damage);
    onBytes(record.bytes);
  }
  return damages;
}

/** How one file differs from its record, if it does. */
export async function damageOfFile(
  path: string,
  { file, bytes, sha256 }: FileRecord,
  isRead = true,
): Promise<Damage | undefined> {
  const found = await stat(path).catch(() => undefined);
  const sized = { file, expected: `${bytes} bytes` };
  if (!found?.isFile()) return { ...sized, found: found ? 'no regular file' : 'no such file' };
  if (found.size !== bytes) return { ...sized, found: `${found.size} bytes` };
  if (!isRead) return undefined;
  const hash = await hashOfFile(path);
  return hash === sha256 ? undefined : { file, expected: `SHA-256 ${brief(sha256)}`, found: brief(hash) };
}

const brief = (hash: string) => `${hash.slice(0, 16)}…`;

/** One line on a damage. */
export function inWords({ expected, found }: Damage): string {
  return `${found} instead of ${expected}`;
}

/** Hashes of files that have not changed since, as far as the file system tells. */
const hashes = new Map<string, string>();
/** Times of files are this coarse: a file as young as that may change and keep its time. */
const COARSE_MS = 100;

/** SHA-256 of a file, hex; within a process an unchanged file is read once. */
export async function hashOfFile(path: string): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs, ctimeMs } = await stat(path, { bigint: true });
  const mark = [dev, ino, size, mtimeNs, ctimeNs].join();
  const known = hashes.get(mark);
  if (known !== undefined) return known;
  const isOld = Date.now() - Number(ctimeMs) > COARSE_MS;
  const hash = await sha256File(path);
  if (isOld) hashes.set(mark, hash);
  return hash;
}
