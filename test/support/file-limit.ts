/**
 * @file The full disk that every machine has: a limit on the size of files (EFBIG), which a process meets in the middle of
 * writing as it meets the end of a disk (ENOSPC). Unlike test/support/small-disk.ts it needs no right to mount anything.
 */

/** The command line under which no file may grow beyond so many kilobytes; as it is without a limit. */
export function limited(line: readonly string[], kilobytes: number | undefined): string[] {
  if (kilobytes === undefined) return [...line];
  return ['bash', '-c', `ulimit -f ${kilobytes}; exec "$@"`, 'bash', ...line];
}
