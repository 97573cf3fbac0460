/** @file The public face of the coders: loading, saving, folding, and the contract (`base.ts`). */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UnfoldError } from '../errors.ts';
import { exists } from '../files.ts';
import type { Coder } from './base.ts';
import { CFG_FILE, readSaeLens, type SaveOptions, writeSaeLens } from './formats/saelens.ts';

export type { Architecture } from './architecture.ts';
export { Coder, type SparseActivations, type Weights } from './base.ts';
export { type CoderConfig, outputWidth } from './config.ts';
export { foldActivationScale, foldDecoderNorms } from './fold.ts';
export { architectures } from './registry.ts';

/**
 * Opens a coder: a SAELens 6 directory, or a run of `unfold train`, whose final coder is taken.
 * @throws UnfoldError that names the file and what is wrong with it
 */
export async function loadCoder(path: string): Promise<Coder> {
  return readSaeLens(await coderDirectory(path));
}

/** Writes a coder as a SAELens 6 directory: `SAE.load_from_disk(dir)` opens it. */
export async function saveCoder(coder: Coder, dir: string, options: SaveOptions = {}): Promise<void> {
  await writeSaeLens(coder, dir, options);
}

/** The folder that holds cfg.json: `path` itself, or `path/final` of a training run. */
async function coderDirectory(path: string): Promise<string> {
  for (const dir of [path, join(path, 'final')]) if (await exists(join(dir, CFG_FILE))) return dir;
  const found = await stat(path).then(
    (entry) => (entry.isDirectory() ? 'a folder without them' : 'a file'),
    () => 'nothing at this path',
  );
  throw new UnfoldError('missing-file', {
    where: path,
    expected: `a coder: a folder with ${CFG_FILE} and sae_weights.safetensors, or a finished training run`,
    found,
    todo: 'give the folder of a coder; a run that is not finished keeps its coders under checkpoints/step-N',
  });
}
