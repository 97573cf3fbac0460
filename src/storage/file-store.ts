/**
 * @file Artifacts in a folder, local or shared between machines. A file is written beside its name under one of its own
 * (parts.ts), fsynced, and renamed, or linked where it must be the first: atomic on local disks and on NFS.
 */
import { link, lstat, open, readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { stateOf } from '../digests.ts';
import { publish, sweepParts, syncFolder } from '../files.ts';
import { makeFolder } from '../folders.ts';
import { partOf } from '../parts.ts';
import { targetOf } from '../targets.ts';
import { assertMayPublish } from '../write-guard.ts';
import { existsAlready, explainFile, missingFile } from './lessons.ts';
import { openSource, pieces, type Source } from './local-file.ts';
import { checkName, compareNames } from './names.ts';
import type { ArtifactStore, PutOptions, PutSource, StoredFile } from './store.ts';
import { normalisePlace } from './url.ts';

/** A folder as a store; it is made with the first file. */
export class FileStore implements ArtifactStore {
  readonly url: string;
  readonly localPath: string;

  constructor(path: string) {
    this.localPath = normalisePlace(path);
    this.url = this.localPath;
  }

  async *list(prefix = ''): AsyncIterable<StoredFile> {
    const below = prefix.replace(/\/+$/, '');
    const itself = below === '' ? undefined : await this.stat(below);
    if (itself) yield itself;
    const names = itself ? [] : await this.#namesBelow(below);
    for (const name of names.sort(compareNames)) {
      const file = await this.stat(name);
      if (file) yield file;
    }
  }

  async stat(name: string): Promise<StoredFile | undefined> {
    const path = this.#path(name);
    const stats = await lstat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
      throw explainFile(error, path);
    });
    if (!stats?.isFile()) return undefined;
    return { name, bytes: Number(stats.size), version: stateOf(stats) };
  }

  async read(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    const path = this.#path(name);
    const handle = (await this.stat(name)) && (await open(path, 'r').catch(() => undefined));
    if (!handle) throw missingFile(this.url, name);
    const { size } = await handle.stat();
    const { start = 0, end = size } = range ?? {};
    if (start < Math.min(end, size)) return handle.createReadStream({ start, end: end - 1 });
    await handle.close();
    return Readable.from([]);
  }

  async put(name: string, from: PutSource, options: PutOptions = {}): Promise<StoredFile> {
    const path = this.#path(name);
    const target = await targetOf(path);
    const part = partOf(target);
    const source = await openSource(from, options.signal);
    try {
      await makeFolder(dirname(target));
      await sweepParts(target);
      await write(part, source, options);
      if (!options.ifAbsent) await publish(part, target);
      else {
        assertMayPublish();
        if (!(await isFirst(part, target))) throw existsAlready(this.url, name);
        await syncFolder(dirname(target));
      }
      return { ...(await this.stat(name)), name, bytes: source.bytes, sha256: source.sha256 };
    } catch (error) {
      throw explainFile(error, path);
    } finally {
      await source.close();
      await rm(part, { force: true }).catch(() => undefined);
    }
  }

  async remove(name: string): Promise<void> {
    assertMayPublish();
    const path = this.#path(name);
    await rm(path, { force: true }).catch((error: unknown) => {
      throw explainFile(error, path);
    });
    await this.#removeEmpty(dirname(name));
  }

  close(): void {}

  #path(name: string): string {
    checkName(name, this.url);
    return join(this.localPath, name);
  }

  /** A folder is there because files are in it, as on an object store. */
  async #removeEmpty(folder: string): Promise<void> {
    if (folder === '.') return;
    const gone = await rmdir(join(this.localPath, folder)).then(
      () => true,
      () => false,
    );
    if (gone) await this.#removeEmpty(dirname(folder));
  }

  async #namesBelow(folder: string): Promise<string[]> {
    const path = folder === '' ? this.localPath : this.#path(folder);
    const entries = await readdir(path, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
      throw explainFile(error, path);
    });
    const names: string[] = [];
    for (const entry of entries) {
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) names.push(...(await this.#namesBelow(name)));
      else if (entry.isFile() && !entry.name.endsWith('.part')) names.push(name);
    }
    return names;
  }
}

async function write(part: string, source: Source, { signal, onBytes }: PutOptions): Promise<void> {
  const file = await open(part, 'wx');
  try {
    let written = 0;
    for await (const piece of pieces(source, signal)) {
      await file.writeFile(piece);
      written += piece.length;
      onBytes?.(written);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes `path` a name of the file `part`; false if there is a file of that name. */
async function isFirst(part: string, path: string): Promise<boolean> {
  try {
    await link(part, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
