/**
 * @file Errors that every store has in common, as lessons. Kinds: `storage` is worth another try (the network, an
 * overloaded server), `bad-storage` is not (no bucket, no permission), `damaged` means that bytes are not what was stored.
 */
import { UnfoldError } from '../errors.ts';
import { explainDisk } from '../files.ts';

/** No such file. */
export function missingFile(url: string, name: string, cause?: unknown): UnfoldError {
  return new UnfoldError('missing-file', {
    where: `${url}: ${name}`,
    expected: 'a stored file',
    found: 'no such file',
    todo: 'check the place and the name; what makes the file may not have finished, or it was removed',
    cause,
  });
}

/** `ifAbsent`, and somebody else was first. */
export function existsAlready(url: string, name: string): UnfoldError {
  return new UnfoldError('exists', {
    where: `${url}: ${name}`,
    expected: 'no such file yet',
    found: 'one that somebody else has stored',
    todo: 'use it, or remove it first',
  });
}

/** The bytes are not those that were stored. */
export function damaged(url: string, name: string, expected: string, found: string): UnfoldError {
  return new UnfoldError('damaged', {
    where: `${url}: ${name}`,
    expected,
    found,
    todo: 'remove the file from the store and make it again (the same unfold run or unfold enqueue makes what is missing)',
  });
}

const FAULTS: Record<string, string> = {
  EACCES: 'no permission',
  EPERM: 'not permitted',
  EROFS: 'a read-only file system',
  ENOTDIR: 'a file where a folder should be',
  EEXIST: 'a file where a folder should be',
  EISDIR: 'a folder where a file should be',
  ENAMETOOLONG: 'a name that is too long for this file system',
  EIO: 'an error of the device',
  ESTALE: 'a network share that went away',
};

/** An error of the local file system at `path`; what is not known passes through. */
export function explainFile(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException)?.code ?? '';
  if (error instanceof UnfoldError || !FAULTS[code]) return explainDisk(error, path);
  return new UnfoldError(code === 'EIO' || code === 'ESTALE' ? 'storage' : 'bad-storage', {
    where: path,
    expected: 'a place where files can be read and written',
    found: `${code}: ${FAULTS[code]}`,
    todo: 'check owner, permissions and mount of the folder, or choose another place',
    cause: error,
  });
}
