/**
 * @file Outputs that lie on inputs: a file that is read and written at once is lost half-way. Compared by real path, through
 * links, before anything is made.
 */
import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { UnfoldError } from './errors.ts';
import { targetOf } from './targets.ts';

/** A path as the file system has it, of which the end may not be there yet. */
export async function realPath(path: string): Promise<string> {
  const whole = resolve(path);
  const found = await realpath(whole).catch(() => undefined);
  if (found !== undefined || dirname(whole) === whole) return found ?? whole;
  return join(await realPath(dirname(whole)), basename(whole));
}

/**
 * Refuses an output that is one of the inputs, or lies within one that is a folder.
 * @param inputs paths that are read; undefined ones are passed over, and so is what is not there (a hub id)
 * @throws UnfoldError `bad-setting` that names both; `not-writable` for an output that is a FIFO or a device
 */
export async function refuseOwnInput(
  option: string,
  out: string | undefined,
  inputs: readonly (string | undefined)[],
  within = 'a place within',
): Promise<void> {
  if (out === undefined) return;
  await targetOf(out);
  const target = await realPath(out);
  for (const input of inputs) {
    if (input === undefined) continue;
    const source = await realpath(resolve(input)).catch(() => undefined);
    if (source === undefined || (target !== source && !target.startsWith(source + sep))) continue;
    throw new UnfoldError('bad-setting', {
      where: `${option} ${out}`,
      expected: 'a place of its own for what is written',
      found: target === source ? `the input ${input} itself` : `${within} the input ${input} itself`,
      todo: `choose another ${option}`,
    });
  }
}

/**
 * Refuses an output that would replace a file of an input, or its folder; a new file may be put beside its files.
 * @throws UnfoldError `bad-setting` that names both
 */
export async function refuseReplacing(
  option: string,
  out: string,
  inputs: readonly (string | undefined)[],
): Promise<void> {
  const isThere = (await realpath(resolve(out)).catch(() => undefined)) !== undefined;
  if (isThere) await refuseOwnInput(option, out, inputs, 'a file of');
}
