/** @file `unfold enqueue NAME` with a name that is none: what there is instead. */
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { nearest, UnfoldError } from '../errors.ts';
import { kindNames } from '../jobs/kinds/index.ts';
import { packageRoot, resolvePath, searchPlaces } from '../pipeline/paths.ts';

/**
 * Lets paths and names of bundled pipelines pass.
 * @throws UnfoldError `unknown-stage` for any other word
 */
export function assertQueueable(name: string): void {
  if (!/^[\w-]+$/.test(name) || existsSync(resolvePath(name, searchPlaces()))) return;
  const pipelines = readdirSync(join(packageRoot(), 'pipelines'))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => basename(file, '.yaml'));
  if (pipelines.includes(name)) return;
  const [close] = nearest(name, [...pipelines, ...kindNames], 1);
  throw new UnfoldError('unknown-stage', {
    where: `unfold enqueue ${name}`,
    expected: `a pipeline’s file, a bundled pipeline (${pipelines.join(', ')}) or a command (${kindNames.join(', ')})`,
    found: 'a word that is neither, and no such file',
    todo: `did you mean ${close}? unfold enqueue --help has examples`,
  });
}
