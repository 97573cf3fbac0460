/** @file Models by name: a local folder as it is, a hub id through the cache. */
import { stat } from 'node:fs/promises';
import type { StageContext } from '../context.ts';
import { UnfoldError } from '../errors.ts';

/** The folder of a model's tokeniser files. */
export async function resolveTokenizerFiles(dirOrId: string, _context: StageContext): Promise<string> {
  const isFolder = await stat(dirOrId).then(
    (s) => s.isDirectory(),
    () => false,
  );
  if (isFolder) return dirOrId;
  throw new UnfoldError('no-model', {
    where: dirOrId,
    expected: 'a model folder',
    found: 'no such folder',
    todo: 'check the path',
  });
}
/** The folder of a model. */
export async function resolveModel(
  dirOrId: string,
  _options: { files?: string[] },
  context: StageContext,
): Promise<string> {
  return resolveTokenizerFiles(dirOrId, context);
}
