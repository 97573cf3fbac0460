/**
 * @file What files in a store may be called: relative, with slashes, the same on every store and file system.
 */
import { UnfoldError } from '../errors.ts';

/** Longest key of S3, bytes of UTF-8. */
const MAX_NAME_BYTES = 1024;
const MAX_SEGMENT_BYTES = 255;

/**
 * Checks the name of a file.
 * @throws UnfoldError `bad-name`: empty, absolute, `.`, `..`, an empty segment, backslash, control character, too long,
 *   or ending in `.part`, which unfinished files are called
 */
export function checkName(name: string, where: string): void {
  const found = faultOf(name);
  if (found === undefined) return;
  throw new UnfoldError('bad-name', {
    where: `${where}: ${JSON.stringify(name)}`,
    expected: 'a relative name with slashes, as harvest-1a2b3c4d/activations/data-00000.arrow',
    found,
    todo: 'rename the file',
  });
}

function faultOf(name: string): string | undefined {
  if (name === '') return 'an empty name';
  if (name.startsWith('/')) return 'an absolute path';
  if (name.includes('\\')) return 'a backslash';
  if ([...name].some((character) => character < ' ' || character === '\u007f')) return 'a control character';
  if (Buffer.from(name).toString() !== name) return 'half of a surrogate pair';
  if (name.endsWith('.part')) return 'the ending .part, which unfinished files have';
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `more than ${MAX_NAME_BYTES} bytes`;
  const segments = name.split('/');
  if (segments.some((segment) => segment === '' || segment === '.' || segment === '..'))
    return 'an empty segment, “.” or “..”';
  if (segments.some((segment) => Buffer.byteLength(segment) > MAX_SEGMENT_BYTES))
    return `a segment of more than ${MAX_SEGMENT_BYTES} bytes`;
  return undefined;
}

/** True for `prefix` itself and what is below it; all names for an empty prefix. */
export function isBelow(name: string, prefix: string): boolean {
  return prefix === '' || name === prefix || name.startsWith(`${prefix}/`);
}

/** Order of names: by bytes of UTF-8, as S3 lists them. */
export function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
