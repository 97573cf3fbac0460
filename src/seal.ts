/**
 * @file JSON files of ours that carry their own checksum: `seal` is the SHA-256 of all that is beside it, keys sorted, so
 * that one changed digit is seen. Files of earlier versions have none.
 */
import { UnfoldError } from './errors.ts';
import { hashOf, readJson, writeJson } from './files.ts';

/** The value with its seal. */
export function sealed<T extends object>(value: T): T & { seal: string } {
  const { seal: _old, ...content } = value as T & { seal?: unknown };
  return { ...(content as T), seal: hashOf(content) };
}

/** `none`: a file of an earlier version, or none of ours. */
export function sealOf(value: unknown): 'sound' | 'broken' | 'none' {
  if (value === null || typeof value !== 'object' || !('seal' in value)) return 'none';
  const { seal, ...content } = value;
  return seal === hashOf(content) ? 'sound' : 'broken';
}

/** Writes a value with its seal, atomically. */
export async function writeSealed(path: string, value: object): Promise<void> {
  await writeJson(path, sealed(value));
}

/**
 * Reads JSON and checks its seal, if it has one.
 * @param todo how such a file is made again
 * @throws UnfoldError `missing-file`, `bad-json`, `damaged`
 */
export async function readSealed(path: string, todo: string): Promise<unknown> {
  const value = await readJson(path, todo);
  requireSeal(value, path, todo);
  return value;
}

/** Refuses a value whose seal is broken. @throws UnfoldError `damaged` */
export function requireSeal(value: unknown, where: string, todo: string): void {
  if (sealOf(value) !== 'broken') return;
  throw new UnfoldError('damaged', {
    where,
    expected: 'the content that was written, by the checksum in it (seal)',
    found: 'another: the file is damaged or was edited',
    todo,
  });
}
