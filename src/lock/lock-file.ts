/**
 * @file One lock file: claiming it, taking it over from a dead holder, its heartbeat, its release.
 *
 * - A claim is a file made with O_EXCL. The holder keeps it open and rewrites its counter in place, so a holder that was
 *   taken over in its sleep writes into a file that nobody sees, never into its successor's.
 * - Taking over, and releasing, is done under a second lock file named after the token of the first (`PATH.over-TOKEN`),
 *   and only while the first is still there unchanged. So of many that saw the same dead holder one succeeds, and nobody
 *   renames or removes the file of a lock that is alive. That second file is a lock as the first and can be taken over in
 *   the same way, should its holder die within those microseconds.
 *
 * Everything is synchronous but the heartbeat: these are files of 300 bytes.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync, renameSync, rmSync, write, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { explainDisk } from '../files.ts';
import { type Holder, type Look, look, thisHolder, whereabouts } from './holder.ts';
import { forget, identity, watch } from './watch.ts';

/** How often the counter is rewritten. */
export const BEAT_MS = 3_000;
/** A lock file that says nothing is being written this moment, or its writer died; it is dead after so long unchanged. */
const UNREADABLE_MS = 3_000;

/** Tokens of the locks that this process holds. */
const mine = new Set<string>();

/** `unsure`: nothing has been seen of its heartbeat yet, or it has not been still for long enough. */
export type Verdict = 'alive' | 'dead' | 'unsure';

/** Judges the holder of the file at `path`; `deadAfter` milliseconds without a heartbeat are its end on another host. */
export function judge(path: string, seen: Look, deadAfter: number): Verdict {
  const { holder } = seen;
  if (!holder) return watch(path, seen).still >= UNREADABLE_MS ? 'dead' : 'unsure';
  const where = whereabouts(holder, mine);
  if (where !== 'elsewhere') return where === 'there' ? 'alive' : 'dead';
  // Of an older version, which knew no heartbeats.
  if (holder.beat === undefined) return 'alive';
  const { moved, still } = watch(path, seen);
  if (moved) return 'alive';
  return still >= deadAfter ? 'dead' : 'unsure';
}

/** A lock file of ours. */
export class LockFile {
  readonly path: string;
  readonly holder: Holder & { token: string };
  readonly #file: number;
  readonly #lost: () => void;
  #beat = 0;
  #isWriting = false;
  #timer: NodeJS.Timeout | undefined;

  private constructor(path: string, holder: Holder & { token: string }, file: number, lost: () => void) {
    this.path = path;
    this.holder = holder;
    this.#file = file;
    this.#lost = lost;
    mine.add(holder.token);
  }

  /** Makes the file, or returns undefined where there is one. `lost` is called once if it is taken away. */
  static claim(
    path: string,
    range: Pick<Holder, 'first' | 'last'> = {},
    lost: () => void = () => {},
  ): LockFile | undefined {
    const lock = LockFile.#create(path, range, lost);
    // A claim that slept between making and filling its file may have been taken over meanwhile.
    if (lock && !lock.isOurs()) {
      lock.#forget();
      return undefined;
    }
    return lock;
  }

  /** Replaces the lock of a dead holder, unless another does or it turns out to be alive. */
  static takeOver(
    path: string,
    dead: Look,
    deadAfter: number,
    range: Pick<Holder, 'first' | 'last'> = {},
    lost: () => void = () => {},
  ): LockFile | undefined {
    return LockFile.#under(path, dead.text, deadAfter, () => {
      if (look(path)?.text !== dead.text) return undefined;
      const beside = LockFile.#create(`${path}.new-${thisHolder().token}`, range, lost);
      if (!beside) return undefined;
      renameSync(beside.path, path);
      forget(path);
      return new LockFile(path, beside.holder, beside.#file, lost);
    });
  }

  static #create(path: string, range: Pick<Holder, 'first' | 'last'>, lost: () => void) {
    let file: number;
    try {
      file = openSync(path, 'wx');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
      throw explainDisk(error, path);
    }
    const lock = new LockFile(path, thisHolder(range), file, lost);
    try {
      writeSync(file, lock.#text(), 0);
    } catch (error) {
      lock.#forget();
      rmSync(path, { force: true });
      throw explainDisk(error, path);
    }
    return lock;
  }

  /** Does something to the file at `path` while nobody else does; undefined if somebody does. */
  static #under<T>(path: string, text: string, deadAfter: number, act: () => T): T | undefined {
    const over = `${path}.over-${shortName(identity(text))}`;
    let guard = LockFile.claim(over);
    if (!guard) {
      const seen = look(over);
      if (!seen || judge(over, seen, deadAfter) !== 'dead') return undefined;
      guard = LockFile.takeOver(over, seen, deadAfter);
      if (!guard) return undefined;
    }
    try {
      return act();
    } finally {
      rmSync(over, { force: true });
      guard.#forget();
    }
  }

  /** Starts the heartbeat. */
  keepAlive(every = BEAT_MS): this {
    this.#timer = setInterval(() => this.#rewrite(), every);
    this.#timer.unref();
    return this;
  }

  /** True if the file at the path is still this lock's. */
  isOurs(): boolean {
    return look(this.path)?.holder?.token === this.holder.token;
  }

  /** Removes the file, if it is still ours. Can be called twice. */
  release(): void {
    if (!mine.has(this.holder.token)) return;
    clearInterval(this.#timer);
    const remove = () => {
      if (this.isOurs()) rmSync(this.path, { force: true });
    };
    try {
      LockFile.#under(this.path, this.#text(), Number.POSITIVE_INFINITY, remove);
    } catch {
      // No room for the second file: letting go of a lock may not need any. Nobody takes over from the living.
      remove();
    }
    this.#forget();
  }

  #rewrite(): void {
    if (this.#isWriting) return;
    this.#beat++;
    this.#isWriting = true;
    // A beat that cannot be written is made up for by the next one.
    write(this.#file, this.#text(), 0, () => {
      this.#isWriting = false;
      if (mine.has(this.holder.token)) void this.#checkOurs();
      else closeSync(this.#file);
    });
  }

  async #checkOurs(): Promise<void> {
    const text = await readFile(this.path, 'utf8').catch((error: NodeJS.ErrnoException) =>
      error.code === 'ENOENT' ? '' : undefined,
    );
    if (text === undefined || !mine.has(this.holder.token)) return;
    if (identity(text) === this.holder.token) return;
    clearInterval(this.#timer);
    this.#forget();
    this.#lost();
  }

  /** Never closes the file under a write: its number could be another file's by then. */
  #forget(): void {
    if (mine.delete(this.holder.token) && !this.#isWriting) closeSync(this.#file);
  }

  #text(): string {
    return `${JSON.stringify({ ...this.holder, beat: String(this.#beat).padStart(10, '0') })}\n`;
  }
}

/** A file name that stands for a token, or for a text without one. */
function shortName(id: string): string {
  return /^\w{1,16}$/.test(id) ? id : createHash('sha256').update(id).digest('hex').slice(0, 12);
}
