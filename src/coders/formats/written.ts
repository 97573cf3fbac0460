/**
 * @file manifest.json of what `unfold import` and `unfold export` wrote: from what and how it was made, what it came to, and
 * every file with its hash. The same command finds its finished work again by it, and leaves it alone. Readers of other
 * libraries take the files that they know by name and do not look at it.
 */
import { readdir } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { UnfoldError } from '../../errors.ts';
import { exists, hashOf } from '../../files.ts';
import { damageOf, hashOfFile, inWords, recordFiles, recordsOf, resultsBelow } from '../../inventory.ts';
import { readSealed, writeSealed } from '../../seal.ts';
import type { CoderEntry } from './format.ts';
import { WRITTEN, WRITTEN_FORMAT } from './written-name.ts';

const TODO = 'remove the folder and run the same command again';

/** What such a file says; `coders` as the command reports them, folders relative. */
export interface Written<C> {
  format: typeof WRITTEN_FORMAT;
  /** Hash of what was asked for, sources included. */
  request: string;
  /** Layout of the source (import) or of the result (export). */
  layout: string;
  coders: C[];
}

/** Hash of what is asked for: the coders by their bytes, and all options that the result depends on. */
export async function requestOf(entries: readonly CoderEntry[], options: object): Promise<string> {
  const sources = [];
  for (const { name, cfg, files } of entries) {
    const hashes = [];
    for (const file of files) hashes.push([basename(file), await hashOfFile(file)]);
    sources.push({ name, cfg, hashes });
  }
  return hashOf({ sources, options });
}

/** Lists what is in `dir`, which lies at `out` in the end; to be written last. */
export async function writeWritten<C extends { dir: string }>(
  dir: string,
  out: string,
  about: Omit<Written<C>, 'format'>,
): Promise<void> {
  const within = (path: string) => relative(path.startsWith(dir) ? dir : out, path);
  const coders = about.coders.map((coder) => ({ ...coder, dir: within(coder.dir) }));
  const files = await recordFiles(dir, await resultsBelow(dir));
  await writeSealed(join(dir, WRITTEN), { format: WRITTEN_FORMAT, ...about, coders, files });
}

/**
 * What the same command wrote to `out` before; undefined where `out` is empty or not there.
 * @throws UnfoldError `not-empty` for anything else that is there, `damaged` for files that have changed since
 */
export async function writtenBefore<C extends { dir: string }>(
  out: string,
  request: string,
): Promise<Written<C> | undefined> {
  const there = await readdir(out).catch(() => []);
  if (there.length === 0) return undefined;
  const path = join(out, WRITTEN);
  const written = (await exists(path)) ? ((await readSealed(path, TODO)) as Written<C>) : undefined;
  if (written?.format !== WRITTEN_FORMAT || written.request !== request) throw notEmpty(out, there, written);
  const [damage] = await damageOf(out, recordsOf(written), 'all');
  if (!damage) return { ...written, coders: written.coders.map((c) => ({ ...c, dir: join(out, c.dir) })) };
  throw new UnfoldError('damaged', {
    where: join(out, damage.file),
    expected: `the file that this command wrote here before, as ${path} says`,
    found: inWords(damage),
    todo: TODO,
  });
}

function notEmpty(
  out: string,
  there: readonly string[],
  written: { format?: string } | undefined,
): UnfoldError {
  const isOurs = written?.format === WRITTEN_FORMAT;
  return new UnfoldError('not-empty', {
    where: out,
    expected: 'a new or empty folder, or what this very command wrote there',
    found: isOurs ? 'coders from another source, or with other options' : there.slice(0, 5).join(', '),
    todo: 'choose another --out, or remove the folder first',
  });
}
