/**
 * @file What is known of a folder that is kept in step with a store: which local file (by size, time and inode) has which
 * hash, and which version of the stored file it equals. It saves hashing and asking; nothing is wrong without it.
 */
import { z } from 'zod';
import { exists, readJson, sha256File, writeJson } from '../files.ts';
import { lockPath } from '../lock.ts';
import type { LocalFile } from './local-folder.ts';
import type { StoredFile } from './store.ts';

const entry = z.object({ mark: z.string(), sha256: z.string(), version: z.string().optional() });
const schema = z.object({ kind: z.literal('unfold.sync/1'), files: z.record(z.string(), entry) });
type Entry = z.output<typeof entry>;

const LOCK_WAIT_MS = 60_000;

/** Remembers; {@link SyncRecord.save} shares it with later processes. */
export class SyncRecord {
  readonly #path: string | undefined;
  readonly #files = new Map<string, Entry>();
  readonly #changed = new Set<string>();

  private constructor(path: string | undefined) {
    this.#path = path;
  }

  /** In memory only, or as read from a file; a file that is damaged or not there is an empty record. */
  static async open(path?: string): Promise<SyncRecord> {
    const record = new SyncRecord(path);
    for (const [name, known] of await read(path)) record.#files.set(name, known);
    return record;
  }

  /** Hash of a local file, computed once. */
  async sha256(file: LocalFile): Promise<string> {
    const known = this.#files.get(file.name);
    if (known?.mark === file.mark) return known.sha256;
    const sha256 = await sha256File(file.path);
    this.#set(file.name, { mark: file.mark, sha256 });
    return sha256;
  }

  /** True if the local file is known to equal this version of the stored one. */
  isSame(file: LocalFile, { version, bytes }: StoredFile): boolean {
    const known = this.#files.get(file.name);
    return (
      version !== undefined && known?.version === version && known.mark === file.mark && bytes === file.bytes
    );
  }

  /** Notes that they are equal. */
  note({ name, mark }: Pick<LocalFile, 'name' | 'mark'>, sha256: string, version: string | undefined): void {
    this.#set(name, { mark, sha256, version });
  }

  forget(name: string): void {
    this.#files.delete(name);
    this.#changed.add(name);
  }

  /** Names and versions of the stored files that were noted. */
  *versions(): Iterable<[name: string, version: string]> {
    for (const [name, { version }] of this.#files) if (version !== undefined) yield [name, version];
  }

  /** Writes what changed; what other processes wrote of other files meanwhile is kept. */
  async save(): Promise<void> {
    if (this.#path === undefined || this.#changed.size === 0) return;
    const lock = await lockPath(`${this.#path}.lock`, { wait: LOCK_WAIT_MS, poll: 50 });
    try {
      const files = await read(this.#path);
      for (const name of this.#changed) {
        const known = this.#files.get(name);
        if (known) files.set(name, known);
        else files.delete(name);
      }
      await writeJson(this.#path, { kind: 'unfold.sync/1', files: Object.fromEntries(files) });
      this.#changed.clear();
    } finally {
      await lock.release();
    }
  }

  #set(name: string, known: Entry): void {
    this.#files.set(name, known);
    this.#changed.add(name);
  }
}

async function read(path: string | undefined): Promise<Map<string, Entry>> {
  if (path === undefined || !(await exists(path))) return new Map();
  const parsed = schema.safeParse(await readJson(path).catch(() => undefined));
  return new Map(parsed.success ? Object.entries(parsed.data.files) : []);
}
