/**
 * @file How a file that somebody else made is opened: only if it is a regular file (a folder, a named pipe or a device would
 * fail late or wait for ever), no larger than what is asked for may be, its JSON no deeper than any honest one. Whatever the
 * file system says is told as a lesson. What Unfold writes is files.ts.
 */
import { type FileHandle, lstat, open, readFile, stat } from 'node:fs/promises';
import { UnfoldError } from './errors.ts';

/** What is being read, for the lesson. */
export interface Reading {
  /** "a JSON file", "the model's config.json". */
  expected: string;
  /** What to do if it cannot be read. */
  todo: string;
  /** Of the error; `missing-file` or `unreadable` unless given. */
  kind?: string;
  /** Bytes; more is refused before anything is read. */
  most?: number;
}

/** Settings, manifests, configurations: text that a person could have written. 256 MiB. */
const MOST_TEXT = 2 ** 28;

/** Levels of a JSON value. The deepest honest file met has 12. */
export const MOST_LEVELS = 200;

/**
 * The size of a regular file.
 * @throws UnfoldError for what is not there, not a regular file, not permitted, or larger than `most`
 */
export async function sizeOfRegular(path: string, reading: Reading): Promise<number> {
  const found = await stat(path).catch((cause: unknown) => {
    throw explainRead(cause, path, reading);
  });
  const refuse = (what: string) => {
    const { expected, todo, kind = 'unreadable' } = reading;
    throw new UnfoldError(kind, { where: path, expected, found: what, todo });
  };
  if (found.isDirectory()) refuse('a folder');
  if (found.isFIFO()) refuse('a named pipe, which can be read once only: write its content to a file');
  if (!found.isFile()) refuse('a device or socket');
  if (reading.most !== undefined && found.size > reading.most)
    refuse(`${found.size} bytes, more than the ${reading.most} that such a file may have`);
  return found.size;
}

/** True if a folder has this entry, be it a link that leads nowhere: whoever reads it says what is wrong with it. */
export async function isListed(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

/** Opens a regular file for reading. @throws UnfoldError as {@link sizeOfRegular} */
export async function openToRead(path: string, reading: Reading): Promise<FileHandle> {
  await sizeOfRegular(path, reading);
  return open(path, 'r').catch((cause: unknown) => {
    throw explainRead(cause, path, reading);
  });
}

/** A text file, whole. @throws UnfoldError as {@link sizeOfRegular} */
export async function readText(path: string, reading: Reading): Promise<string> {
  await sizeOfRegular(path, { most: MOST_TEXT, ...reading });
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw explainRead(cause, path, reading);
  });
}

/** Errors of a path that leads nowhere. */
const MISSING = new Set(['ENOENT', 'ENOTDIR']);

const MEANINGS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file: a part of the path is a file, not a folder',
  ELOOP: 'a link that leads to itself',
  EISDIR: 'a folder',
  EACCES: 'no permission to read it',
  EPERM: 'it is not permitted to read it',
  ENAMETOOLONG: 'a name that is longer than file names may be',
  EMFILE: 'no more open files are allowed to this process (see "ulimit -n")',
  ENFILE: 'no more open files are allowed on this machine',
  EIO: 'an error of the disk',
  ESTALE: 'a network file system that has lost it',
  ENXIO: 'a socket or device',
  ERR_INVALID_ARG_VALUE: 'a name that no file can have',
};

/** A file system's error while reading, as a lesson; anything else passes through. */
export function explainRead(error: unknown, path: string, reading?: Partial<Reading>): unknown {
  const code = String((error as NodeJS.ErrnoException | undefined)?.code);
  if (error instanceof UnfoldError || !Object.hasOwn(MEANINGS, code)) return error;
  return new UnfoldError(reading?.kind ?? (MISSING.has(code) ? 'missing-file' : 'unreadable'), {
    where: path,
    expected: reading?.expected ?? 'a file that can be read',
    found: `${MEANINGS[code]} (${code})`,
    todo: reading?.todo ?? 'check the path and its permissions',
    cause: error,
  });
}

/**
 * JSON of a file, bounded in depth, so that whatever walks through the value later cannot run out of stack.
 * @throws UnfoldError `bad-json` that says where it does not parse
 */
export function parseJson(text: string, where: string, todo = 'make the file again'): unknown {
  const refuse = (found: string, cause?: unknown) =>
    new UnfoldError('bad-json', { where, expected: 'JSON', found, todo, cause });
  if (levelsOf(text) > MOST_LEVELS) throw refuse(`brackets in more than ${MOST_LEVELS} levels`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw refuse(`${text.length} characters that do not parse (${(cause as Error).message})`, cause);
  }
}

/** How deep the brackets of a JSON text go; brackets in strings do not count. */
export function levelsOf(text: string): number {
  let [depth, deepest, inString] = [0, 0, false];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 0x5c) i++;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x5b || code === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (code === 0x5d || code === 0x7d) depth--;
  }
  return deepest;
}
