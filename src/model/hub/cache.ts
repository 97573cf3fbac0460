/**
 * @file Hugging Face's cache on disk, shared with Python: `models--ORG--NAME/` with `blobs/` (files by content),
 * `snapshots/COMMIT/` (links to them under their names), `refs/` (branches and tags to commits) and `.no_exist/`
 * (files a commit is known not to have).
 */
import { copyFile, readFile, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { exists, writeFileAtomically } from '../../files.ts';
import { makeFolder } from '../../folders.ts';
import { cachedIds, type HubReference, isCommit } from './reference.ts';

/** A model's folder in the cache. */
export class ModelCache {
  readonly root: string;

  constructor(cacheDir: string, id: string) {
    this.root = join(cacheDir, `models--${id.replaceAll('/', '--')}`);
  }

  /** The commit that a revision stood for when it was last looked up. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return (await exists(this.snapshot(revision))) ? revision : undefined;
    const content = await readFile(join(this.root, 'refs', revision), 'utf8').catch(() => '');
    return content.trim() || undefined;
  }

  async remember(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    // Python writes no line end and reads none.
    await note(join(this.root, 'refs', revision), commit);
  }

  snapshot(commit: string): string {
    return join(this.root, 'snapshots', commit);
  }

  blob(name: string): string {
    return join(this.root, 'blobs', name);
  }

  /** Gives a blob its name in a snapshot; a copy where the file system has no links. */
  async link(commit: string, file: string, blob: string): Promise<void> {
    const path = join(this.snapshot(commit), file);
    if (await exists(path)) return;
    await makeFolder(dirname(path));
    try {
      await symlink(relative(dirname(path), blob), path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') await copyFile(blob, path);
    }
  }

  async isKnownMissing(commit: string, file: string): Promise<boolean> {
    return exists(join(this.root, '.no_exist', commit, file));
  }

  async rememberMissing(commit: string, file: string): Promise<void> {
    await note(join(this.root, '.no_exist', commit, file), '');
  }
}

/** Processes that note the same at once do not disturb each other, and no reader sees half a note. */
async function note(path: string, content: string): Promise<void> {
  await writeFileAtomically(path, content);
}

/** The cached copies of a model, under its own id and under old ones. */
export function cachesOf(cacheDir: string, { id }: HubReference): ModelCache[] {
  return cachedIds(id).map((known) => new ModelCache(cacheDir, known));
}
