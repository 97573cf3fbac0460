/**
 * @file The coder that leaves a run: for plain activations (the training rows' scale is folded into the weights), with
 * decoder norms in the encoder where that is exact, in SAELens's layout.
 */
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Coder } from '../coders/base.ts';
import { foldActivationScale, foldDecoderNorms, saveCoder } from '../coders/coder.ts';
import { WEIGHTS_FILE } from '../coders/formats/saelens.ts';
import { architectureNamed } from '../coders/registry.ts';
import type { TrainingCoder } from '../coders/training.ts';
import { sha256File, syncFolder } from '../files.ts';
import * as tf from '../tensor/tf.ts';
import type { Run } from './loop.ts';

/** The coder as it stands, for plain rows: activation scale and, where exact, decoder norms folded into the weights. */
export function exportedCoder(coder: TrainingCoder, scale: number, foldNorms: boolean): Coder {
  const weights = Object.fromEntries(
    Object.entries(coder.parameters).map(([name, { value }]) => [name, tf.clone(value)]),
  );
  const architecture = architectureNamed(coder.cfg.architecture, 'training');
  const steps: ((coder: Coder) => Coder)[] = [];
  if (coder.cfg.normalize_activations === 'expected_average_only_in')
    steps.push((c) => foldActivationScale(c, scale));
  if (foldNorms && !architecture.cannotFoldNorms?.(coder.cfg)) steps.push(foldDecoderNorms);
  return steps.reduce(
    (current, fold) => {
      const next = fold(current);
      current.dispose();
      return next;
    },
    architecture.create(coder.cfg, weights),
  );
}

/** Writes `final/` beside and renames it; returns the hash of the weight file. */
export async function exportCoder({ coder, state, settings, counters }: Run, dir: string): Promise<string> {
  const exported = exportedCoder(coder, state.scale, settings.fold_decoder_norms);
  const rates = counters.firingRates();
  const unit = settings.dead_feature_window_unit === 'steps' ? settings.train_batch_size_tokens : 1;
  Object.assign(exported.cfg.metadata, {
    l0: rates.reduce((sum, rate) => sum + rate, 0),
    num_dead_features: counters.dead(settings.dead_feature_window * unit).length,
  });
  const part = `${dir}.part`;
  await rm(part, { recursive: true, force: true });
  await mkdir(part, { recursive: true });
  await saveCoder(exported, part, { firingRate: rates });
  exported.dispose();
  await rm(dir, { recursive: true, force: true });
  await rename(part, dir);
  await syncFolder(join(dir, '..'));
  return sha256File(join(dir, WEIGHTS_FILE));
}
