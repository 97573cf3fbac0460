/**
 * @file Identity by content: the SHA-256 of files, remembered so that gigabytes are hashed once. A remembered hash counts
 * only while path, inode, size, time of change of the content and of the inode (ctime, in nanoseconds) are what they
 * were. Programs can set the first time back after they wrote, but not the second, and a file that is put in another's place
 * has another inode. Files that changed less than two seconds before they were hashed are not remembered: a clock's tick
 * could hide the next change. On file systems that keep no ctime of their own (FAT) a rewrite within the same size and time
 * would not be noticed. SHA-256 takes about 1.5 GB/s of one core.
 */
import { createHash } from 'node:crypto';
import { type BigIntStats, createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { type StageContext, silent } from './context.ts';
import { UnfoldError } from './errors.ts';
import { exists, readJson, writeJson } from './files.ts';
import { explainRead, sizeOfRegular } from './read.ts';
import { cacheDirectory } from './text/cache.ts';

const memorySchema = z.record(z.string(), z.object({ mark: z.string(), sha256: z.string() }));
type Memory = z.infer<typeof memorySchema>;

/** Below this a file is simply hashed again. 4 MiB: 3 ms. */
const WORTH_REMEMBERING = 2 ** 22;
/** From here on a person wants to see that something happens. 256 MiB. */
const WORTH_A_BAR = 2 ** 28;
/** Younger changes than this are not trusted to be the last. */
const SETTLED_MS = 2000;

/** Hashes files; close to nothing for those that were hashed before. */
export class Digests {
  readonly #path: string | null;
  readonly #memory: Memory;
  #changed = false;

  private constructor(path: string | null, memory: Memory) {
    this.#path = path;
    this.#memory = memory;
  }

  /** @param folder of the memory; null remembers nothing */
  static async open(folder: string | null = cacheDirectory()): Promise<Digests> {
    const path = folder === null ? null : join(folder, 'hashes.json');
    return new Digests(path, await recall(path));
  }

  /**
   * SHA-256 of each file, hex, in their order.
   * @throws UnfoldError for what cannot be read; `unstable-file` for what changes meanwhile; the signal's reason
   */
  async of(paths: readonly string[], context: StageContext = silent(), label = 'hash'): Promise<string[]> {
    const marks = await Promise.all(paths.map(markOf));
    const left = marks.filter((mark) => this.#known(mark) === undefined);
    const total = left.reduce((sum, { bytes }) => sum + bytes, 0);
    const bar = total > WORTH_A_BAR ? context.bar(label, total, 'bytes') : undefined;
    let done = 0;
    const advance = (more: number) => {
      done += more;
      bar?.update(done);
    };
    const digests: string[] = [];
    for (const mark of marks) {
      const known = this.#known(mark);
      digests.push(known ?? (await this.#hash(mark, context.signal, advance)));
    }
    bar?.finish();
    await this.#save();
    return digests;
  }

  #known({ path, mark }: Mark): string | undefined {
    const entry = Object.hasOwn(this.#memory, path) ? this.#memory[path] : undefined;
    return entry?.mark === mark ? entry.sha256 : undefined;
  }

  async #hash(before: Mark, signal: AbortSignal, advance: (bytes: number) => void): Promise<string> {
    const sha256 = await hashOfFile(before.path, signal, advance);
    const after = await markOf(before.path);
    if (after.mark !== before.mark) throw unstable(before.path);
    if (before.bytes >= WORTH_REMEMBERING && before.settled) {
      this.#memory[before.path] = { mark: before.mark, sha256 };
      this.#changed = true;
    }
    return sha256;
  }

  /** Only a memory: where it cannot be written the files are hashed again. */
  async #save(): Promise<void> {
    if (this.#path === null || !this.#changed) return;
    this.#changed = false;
    await writeJson(this.#path, this.#memory).catch(() => undefined);
  }
}

/** Which state of a file a hash belongs to. */
interface Mark {
  path: string;
  bytes: number;
  mark: string;
  /** True if it has not changed for a while. */
  settled: boolean;
}

async function markOf(given: string): Promise<Mark> {
  const path = resolve(given);
  const reading = { expected: 'a file to be hashed', todo: 'check the path' };
  await sizeOfRegular(path, reading);
  const stats = await stat(path, { bigint: true }).catch((cause: unknown) => {
    throw explainRead(cause, path, reading);
  });
  return {
    path,
    bytes: Number(stats.size),
    mark: stateOf(stats),
    settled: Date.now() - Number(stats.ctimeMs) > SETTLED_MS,
  };
}

/** What cannot stay the same when a file's content changes. */
export const stateOf = ({ ino, size, mtimeNs, ctimeNs }: BigIntStats): string =>
  [ino, size, mtimeNs, ctimeNs].join('-');

async function hashOfFile(
  path: string,
  signal: AbortSignal,
  advance: (bytes: number) => void,
): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      signal.throwIfAborted();
      hash.update(chunk as Buffer);
      advance((chunk as Buffer).length);
    }
  } catch (error) {
    throw explainRead(error, path);
  }
  return hash.digest('hex');
}

async function recall(path: string | null): Promise<Memory> {
  if (path === null || !(await exists(path))) return {};
  const parsed = memorySchema.safeParse(await readJson(path).catch(() => ({})));
  return parsed.success ? parsed.data : {};
}

function unstable(path: string): UnfoldError {
  return new UnfoldError('unstable-file', {
    where: path,
    expected: 'a file that stays as it is while it is read',
    found: 'one that was changed meanwhile',
    todo: 'let the program that writes it finish, then run the same command again',
  });
}
