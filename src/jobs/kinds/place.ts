/** @file Where a direct job's files go: a folder, or, for commands that write a file, the folder of that file. */
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { UnfoldError } from '../../errors.ts';
import { formatS3, isRemote, normalisePlace, parseS3 } from '../../storage/url.ts';
import { targetOf } from '../../targets.ts';

/** A file's name within the job's folder. */
export const fileName = z
  .string()
  .regex(/^[^/\\\0]{1,200}$/, 'a name without slashes')
  .refine((name) => name !== '.' && name !== '..', 'a name');

/** The folder of a job, absolute unless it is the URL of a store. @throws UnfoldError `bad-setting` when there is none */
export function jobFolder(out: unknown, stage: string): string {
  if (typeof out === 'string' && out !== '') {
    const place = normalisePlace(out);
    if (!isRemote(place) || parseS3(place).prefix !== '') return place;
  }
  throw noFolder(out, stage);
}

function noFolder(out: unknown, stage: string): UnfoldError {
  return new UnfoldError('bad-setting', {
    where: `unfold enqueue ${stage}`,
    expected: '--out, where the job’s files go',
    found: out ? `${String(out)}, a whole bucket` : 'none',
    todo: 'name a folder; whoever queues a job does not see what it prints',
  });
}

/** Refuses to queue work whose file cannot be written, as far as that is seen from here. @throws UnfoldError `not-writable` */
export async function assertFile(out: string, file: string): Promise<void> {
  if (!isRemote(out)) await targetOf(join(out, file));
}

/** A job's folder and the name of the file that it makes there. */
export function jobFile(out: unknown, stage: string): { out: string; file: string } {
  const place = jobFolder(out, stage);
  if (!isRemote(place)) return { out: dirname(place), file: basename(place) };
  const { prefix, ...bucket } = parseS3(place);
  const names = prefix.split('/');
  const file = names.pop()!;
  if (names.length === 0) throw noFolder(place, stage);
  return { out: formatS3({ ...bucket, prefix: names.join('/') }), file };
}

/**
 * The name of a further file of a job that has to lie where its other files lie.
 * @throws UnfoldError `bad-setting` for another folder
 */
export function besides(out: string, path: string | undefined, flag: string): string | undefined {
  if (path === undefined) return undefined;
  const place = jobFile(path, flag);
  if (place.out === out) return place.file;
  throw new UnfoldError('bad-setting', {
    where: flag,
    expected: `a file in ${out}, where the job’s other files go`,
    found: path,
    todo: 'a job writes to one folder: name a file there',
  });
}
