/**
 * @file The store of a place: the one door to file-store.ts and s3-store.ts. The AWS SDK costs a tenth of a second and
 * tens of megabytes, so it is imported when the first s3:// URL is opened.
 */
import { UnfoldError } from '../errors.ts';
import { parseJson } from '../read.ts';
import type { ArtifactStore, StoredFile } from './store.ts';
import { isRemote, normalisePlace, parseS3 } from './url.ts';

/**
 * Opens a path or s3:// URL. Nothing is contacted yet.
 * @throws UnfoldError `bad-setting` for other schemes
 */
export async function openStore(place: string): Promise<ArtifactStore> {
  if (!isRemote(place)) {
    const { FileStore } = await import('./file-store.ts');
    return new FileStore(place);
  }
  const location = parseS3(place);
  const { S3Store } = await import('./s3-store.ts');
  return new S3Store(location);
}

const opened = new Map<string, Promise<ArtifactStore>>();

/** As {@link openStore}, once per place and process; not to be closed. */
export function storeOf(place: string): Promise<ArtifactStore> {
  const key = normalisePlace(place);
  let store = opened.get(key);
  if (!store) {
    store = openStore(place);
    opened.set(key, store);
    store.catch(() => opened.delete(key));
  }
  return store;
}

/** The file's size and hash, or undefined if `place` has no such file. */
export async function storeExists(place: string, name: string): Promise<StoredFile | undefined> {
  return (await storeOf(place)).stat(name);
}

/** Bytes of a manifest or a queue file. */
const MOST_JSON = 256 << 20;

function tooLarge(where: string): UnfoldError {
  const expected = `at most ${MOST_JSON} bytes of JSON`;
  return new UnfoldError('bad-json', { where, expected, found: 'more', todo: 'remove the file' });
}

/**
 * Parses a small JSON file of a place; undefined if there is none.
 * @throws UnfoldError `bad-json`, `storage`, `bad-storage`
 */
export async function readStoredJson(place: string, name: string): Promise<unknown> {
  const store = await storeOf(place);
  const chunks: Buffer[] = [];
  try {
    let bytes = 0;
    for await (const chunk of await store.read(name)) {
      chunks.push(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      if (bytes > MOST_JSON) throw tooLarge(`${store.url}: ${name}`);
    }
  } catch (error) {
    if (error instanceof UnfoldError && error.kind === 'missing-file') return undefined;
    throw error;
  }
  const text = Buffer.concat(chunks).toString('utf8');
  return parseJson(text, `${store.url}: ${name}`, 'remove the file; what made it makes it again');
}

/** Writes a value as indented JSON, as writeJson does; whole or not at all. */
export async function writeStoredJson(
  place: string,
  name: string,
  value: unknown,
  options?: { ifAbsent?: boolean },
): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
  await (await storeOf(place)).put(name, { bytes }, options);
}

/** Removes all files below `prefix` (a stage's folder that is to be made again). `stage.json` goes first. */
export async function removeStored(place: string, prefix: string): Promise<void> {
  const store = await storeOf(place);
  await store.remove(`${prefix}/stage.json`);
  const names: string[] = [];
  for await (const { name } of store.list(prefix)) names.push(name);
  for (const name of names) await store.remove(name);
}
