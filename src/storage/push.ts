/**
 * @file Stores the files of a local folder, several at a time: what the store has with the same size and hash is not sent
 * again, and what vouches for other files (order.ts) comes after them.
 */
import type { StageContext } from '../context.ts';
import { sha256File } from '../files.ts';
import { type LocalFile, readFolder } from './local-folder.ts';
import { inSteps, withoutHalfCheckpoints } from './order.ts';
import { inParallel } from './parallel.ts';
import { listed, storedHash } from './pull.ts';
import type { SyncRecord } from './record.ts';
import type { ArtifactStore, StoredFile } from './store.ts';
import { type Copied, type SyncOptions, Tally } from './sync.ts';

const AT_ONCE = 4;

/**
 * Makes the store hold below `prefix` what is in `dir`. Files that only the store has stay.
 * @throws UnfoldError `storage`, `bad-storage`, `disk-full`, `bad-name`; the signal's reason. What was sent stays, and is
 *   not sent again.
 */
export async function push(
  store: ArtifactStore,
  dir: string,
  prefix: string,
  options: SyncOptions,
  context: StageContext,
): Promise<Copied> {
  const record = await options.record;
  const { files, leftOut } = await readFolder(dir);
  const wanted = withoutHalfCheckpoints(files).filter(({ name }) => options.want?.(name) ?? true);
  const known = new Map<string, StoredFile>();
  for (const file of await listed(store, prefix, options)) known.set(file.name, file);
  const nameOf = (name: string) => (prefix === '' ? name : `${prefix}/${name}`);
  const { there, missing } = await compare(store, wanted, { known, nameOf, record }, context);
  const tally = new Tally(options.label ?? 'push', there, missing, context);
  tally.leftOut = leftOut;
  try {
    for (const step of inSteps(missing)) {
      await inParallel(step, AT_ONCE, async (file, stop) => {
        context.signal.throwIfAborted();
        await send(store, file, nameOf(file.name), record, tally, AbortSignal.any([stop, context.signal]));
      });
    }
    return tally.result();
  } finally {
    tally.end();
    await record?.save();
  }
}

interface Beside {
  known: ReadonlyMap<string, StoredFile>;
  nameOf(name: string): string;
  record: SyncRecord | undefined;
}

async function compare(
  store: ArtifactStore,
  files: readonly LocalFile[],
  { known, nameOf, record }: Beside,
  { signal }: StageContext,
): Promise<{ there: LocalFile[]; missing: LocalFile[] }> {
  const there: LocalFile[] = [];
  const missing: LocalFile[] = [];
  await inParallel(files, AT_ONCE, async (file) => {
    signal.throwIfAborted();
    const stored = known.get(file.name);
    const same = stored !== undefined && (await isEqual(store, file, stored, nameOf(file.name), record));
    (same ? there : missing).push(file);
  });
  return { there, missing };
}

async function isEqual(
  store: ArtifactStore,
  file: LocalFile,
  stored: StoredFile,
  name: string,
  record: SyncRecord | undefined,
): Promise<boolean> {
  if (stored.bytes !== file.bytes) return false;
  if (record?.isSame(file, stored)) return true;
  const sha256 = await (record?.sha256(file) ?? sha256File(file.path)).catch(ifGone);
  if (sha256 === undefined || sha256 !== (await storedHash(store, name))) return false;
  record?.note(file, sha256, stored.version);
  return true;
}

async function send(
  store: ArtifactStore,
  { name, path, bytes, mark }: LocalFile,
  to: string,
  record: SyncRecord | undefined,
  tally: Tally,
  signal: AbortSignal,
): Promise<void> {
  let sent = 0;
  const onBytes = (now: number) => {
    tally.add(now - sent);
    sent = now;
  };
  const stored = await store.put(to, { path, bytes }, { signal, onBytes }).catch(ifGone);
  if (stored && stored.bytes === bytes && stored.sha256 !== undefined)
    record?.note({ name, mark }, stored.sha256, stored.version);
}

/** Checkpoints are pruned while they are sent: a file that is gone need not be stored any more. */
function ifGone(error: NodeJS.ErrnoException): undefined {
  if (error?.code !== 'ENOENT') throw error;
  return undefined;
}
