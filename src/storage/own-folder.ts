/**
 * @file The folder of a stage at work on an object store: fetched before, pushed while it works and at the end.
 *
 * Its files belong together (a checkpoint knows how long its log is), so of two states, the one here and the one on the
 * store, one is taken as a whole. The store's is taken unless it is just what this machine left there: then nobody else
 * has worked on it, and what is here is the same or further.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type StageContext, silent } from '../context.ts';
import { exists } from '../files.ts';
import { fileAt, readFolder } from './local-folder.ts';
import { checkpointOf } from './order.ts';
import { listed } from './pull.ts';
import { SyncRecord } from './record.ts';
import type { ArtifactStore, StoredFile } from './store.ts';
import { pull, push } from './sync.ts';

const MANIFEST = 'stage.json';
/** May be gone here without being missed: checkpoints are pruned, clocks end with the work they count. */
function mayGo(name: string): boolean {
  return checkpointOf(name) !== undefined || /(^|\/)\.seconds[^/]*\.json$/.test(name);
}

/** What is to be kept in step. */
export interface OwnOptions {
  store: ArtifactStore;
  /** Name of the folder on the store. */
  folder: string;
  /** Local path. */
  dir: string;
  recordPath: string;
  own: (name: string) => boolean;
}

/** See the file. */
export class OwnFolder {
  readonly #options: OwnOptions;
  readonly #record: SyncRecord;
  /** Of the store's stage.json before we began. */
  #manifest: string | undefined;

  private constructor(options: OwnOptions, record: SyncRecord) {
    this.#options = options;
    this.#record = record;
  }

  static async open(options: OwnOptions): Promise<OwnFolder> {
    return new OwnFolder(options, await SyncRecord.open(options.recordPath));
  }

  /** Brings the unfinished work here, where the store's is not what was left there from here. */
  async fetch(context: StageContext): Promise<void> {
    const { store, folder, dir, own } = this.#options;
    const stored = await listed(store, folder, { want: own });
    this.#manifest = stored.find(({ name }) => name === MANIFEST)?.version;
    if (await this.#isOurs(stored)) return;
    const names = new Set(stored.map(({ name }) => name));
    for (const file of (await readFolder(dir)).files) {
      if (own(file.name) && !names.has(file.name)) await rm(file.path, { force: true });
    }
    for (const [name] of this.#record.versions())
      if (own(name) && !names.has(name)) this.#record.forget(name);
    await pull(store, folder, dir, { want: own, record: this.#record, label: 'fetch' }, context);
  }

  /** Stores what is finished; all but `stage.json`. Quiet, so that the work's own bar is not disturbed. */
  async pushUnfinished(signal: AbortSignal): Promise<void> {
    await this.#push((name) => name !== MANIFEST, silent(signal));
  }

  /**
   * Stores what is left, `stage.json` last.
   * @returns false if another machine had finished the stage meanwhile: then its files stay, and ours do not go there
   */
  async pushAll(context: StageContext): Promise<boolean> {
    const { store, folder } = this.#options;
    const manifest = await store.stat(`${folder}/${MANIFEST}`);
    if (manifest !== undefined && manifest.version !== this.#manifest) return false;
    await this.#push(() => true, context);
    return true;
  }

  async #push(want: (name: string) => boolean, context: StageContext): Promise<void> {
    const { store, folder, dir, own } = this.#options;
    const options = { want: (name: string) => own(name) && want(name), record: this.#record, label: 'push' };
    await push(store, dir, folder, options, context);
    await this.#removeGone();
  }

  /** True if the store holds what this machine noted when it last pushed or fetched, and that is still here. */
  async #isOurs(stored: readonly StoredFile[]): Promise<boolean> {
    const { dir, own } = this.#options;
    if (!(await exists(dir))) return false;
    const noted = new Map([...this.#record.versions()].filter(([name]) => own(name)));
    if (stored.length !== noted.size) return false;
    for (const { name, version } of stored) {
      if (noted.get(name) !== version) return false;
      if (!mayGo(name) && !(await fileAt(dir, name))) return false;
    }
    return true;
  }

  /** Removes from the store the checkpoints and clocks that are gone here. Nothing else is ever removed there. */
  async #removeGone(): Promise<void> {
    const { store, folder, dir, own } = this.#options;
    const gone: string[] = [];
    for (const [name] of this.#record.versions()) {
      if (mayGo(name) && own(name) && !(await exists(join(dir, name)))) gone.push(name);
    }
    if (gone.length === 0 || !(await exists(dir))) return;
    // A checkpoint without its state.json is none: that goes first.
    gone.sort((a, b) => Number(b.endsWith('/state.json')) - Number(a.endsWith('/state.json')));
    for (const name of gone) {
      await store.remove(`${folder}/${name}`);
      this.#record.forget(name);
    }
    await this.#record.save();
  }
}
