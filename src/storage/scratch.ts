/**
 * @file The scratch folder of a machine: copies of stages' folders that live on a store, kept between jobs so that ten
 * trainings on one harvest fetch it once, and removed, the longest unused first, when they grow beyond a bound.
 *
 *   scratch/HASH-OF-URL/run/STAGE-KEY8/…     the copies, laid out as the run's folder is
 *   scratch/HASH-OF-URL/state/STAGE-KEY8.*   who uses them, what is known of them
 */
import { randomUUID } from 'node:crypto';
import { readdir, rename, rm, stat, statfs, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StageContext } from '../context.ts';
import { exists, sha256, writeFileAtomically } from '../files.ts';
import { makeFolder } from '../folders.ts';
import { lockPath } from '../lock.ts';
import { numberFromEnvironment } from '../number-text.ts';
import { isDeadPart, partOf } from '../parts.ts';
import { readFolder } from './local-folder.ts';

/** Bytes of copies that no job uses, at most, where UNFOLD_SCRATCH_BYTES does not say otherwise. */
const DEFAULT_LIMIT = 100e9;
/** Work that could not be pushed is kept for so long. */
const UNPUSHED_MS = 7 * 24 * 3_600_000;
const WAIT_MS = 24 * 3_600_000;

/** Copies of what is at one place. */
export class Scratch {
  /** Folder with the copies. */
  readonly run: string;
  readonly #root: string;
  readonly #state: string;
  readonly #context: StageContext;

  private constructor(root: string, own: string, context: StageContext) {
    this.#root = root;
    this.run = join(own, 'run');
    this.#state = join(own, 'state');
    this.#context = context;
  }

  /** The copies of the place `url` below `root`; folders are made. */
  static async open(root: string, url: string, context: StageContext): Promise<Scratch> {
    const own = join(root, sha256(url).slice(0, 16));
    const scratch = new Scratch(root, own, context);
    await makeFolder(scratch.run);
    await makeFolder(scratch.#state);
    await writeFileAtomically(join(own, 'place'), `${url}\n`);
    return scratch;
  }

  /** The file of a copy's {@link SyncRecord}. */
  recordOf(folder: string): string {
    return join(this.#state, `${folder}.sync.json`);
  }

  /** Runs `work` while no other process of this machine does the same to this copy. */
  async alone<T>(folder: string, work: () => Promise<T>): Promise<T> {
    const lock = await lockPath(join(this.#state, `${folder}.alone`), { ...this.#context, wait: WAIT_MS });
    try {
      return await work();
    } finally {
      await lock.release();
    }
  }

  /** Marks a copy as used until the returned function is called; it is not removed meanwhile. */
  async use(folder: string): Promise<() => Promise<void>> {
    const mark = join(this.#state, `${folder}.use-${randomUUID()}`);
    const lock = await lockedFolder(this.#state, folder, () => lockPath(mark));
    return async () => {
      await touch(join(this.#state, `${folder}.used`));
      await lock.release();
    };
  }

  /** Says whether a copy holds work that the store does not have. */
  async setUnpushed(folder: string, isUnpushed: boolean): Promise<void> {
    const path = join(this.#state, `${folder}.unpushed`);
    if (isUnpushed) await writeFile(path, '');
    else await rm(path, { force: true });
  }

  /** Removes unused copies, of all places below the root, until `needed` more bytes fit. */
  async makeRoom(needed: number): Promise<void> {
    const copies = await copiesBelow(this.#root);
    let bytes = copies.reduce((sum, copy) => sum + copy.bytes, needed);
    let free = await freeBytes(this.#root);
    const limit = limitOfEnvironment();
    for (const copy of copies.sort((a, b) => a.used - b.used)) {
      if (bytes <= limit && free >= needed) return;
      if (!(await removeUnused(copy))) continue;
      this.#context.note(`scratch: removed ${copy.folder}, which no job uses, to make room`);
      bytes -= copy.bytes;
      free += copy.bytes;
    }
  }
}

function limitOfEnvironment(): number {
  return numberFromEnvironment('UNFOLD_SCRATCH_BYTES', { least: 0 }) ?? DEFAULT_LIMIT;
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}

interface Copy {
  folder: string;
  /** Of the place: holds `run` and `state`. */
  own: string;
  bytes: number;
  /** When it was last used, milliseconds. */
  used: number;
}

async function copiesBelow(root: string): Promise<Copy[]> {
  const copies: Copy[] = [];
  for (const place of await readdir(root)) {
    const own = join(root, place);
    for (const folder of await readdir(join(own, 'run')).catch(() => [])) {
      // A copy whose removal was begun; the dead remove no more.
      if (isDeadPart(folder)) await rm(join(own, 'run', folder), { recursive: true, force: true });
      if (folder.endsWith('.part')) continue;
      const { files } = await readFolder(join(own, 'run', folder));
      const used = await stat(join(own, 'state', `${folder}.used`)).catch(() => undefined);
      const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
      copies.push({ folder, own, bytes, used: used?.mtimeMs ?? 0 });
    }
  }
  return copies;
}

/** Removes a copy unless somebody uses it, or it holds what could not be pushed. */
async function removeUnused({ folder, own, used }: Copy): Promise<boolean> {
  const state = join(own, 'state');
  return lockedFolder(state, folder, async () => {
    const isUnpushed = await exists(join(state, `${folder}.unpushed`));
    if (isUnpushed && Date.now() - used < UNPUSHED_MS) return false;
    if (await isUsed(state, folder)) return false;
    const gone = partOf(join(own, 'run', folder));
    const moved = await rename(join(own, 'run', folder), gone).then(
      () => true,
      () => false,
    );
    for (const suffix of ['sync.json', 'used', 'unpushed'])
      await rm(join(state, `${folder}.${suffix}`), { force: true });
    await rm(gone, { recursive: true, force: true });
    return moved;
  });
}

/** A mark whose process is dead can be locked by us. */
async function isUsed(state: string, folder: string): Promise<boolean> {
  for (const name of await readdir(state)) {
    if (!name.startsWith(`${folder}.use-`)) continue;
    const lock = await lockPath(join(state, name)).catch(() => undefined);
    if (!lock) return true;
    await lock.release();
  }
  return false;
}

/** For a moment: between looking who uses a copy and removing it, nobody begins to use it. */
async function lockedFolder<T>(state: string, folder: string, work: () => Promise<T>): Promise<T> {
  const lock = await lockPath(join(state, `${folder}.lock`), { wait: WAIT_MS, poll: 20 });
  try {
    return await work();
  } finally {
    await lock.release();
  }
}

async function touch(path: string): Promise<void> {
  await writeFile(path, '');
  await utimes(path, new Date(), new Date());
}
