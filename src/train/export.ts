/**
 * @file The coder that leaves a run: for plain activations (the training rows' scales are folded into the weights), with
 * decoder norms in the encoder where that is exact, in SAELens's layout. Coders that settle a threshold at the end do so
 * here, on rows after the trained ones, and what leaves is measured on the same rows.
 */
import { join } from 'node:path';
import type { Architecture } from '../coders/architecture.ts';
import type { Coder } from '../coders/base.ts';
import { foldActivationScale, foldDecoderNorms, saveCoder } from '../coders/coder.ts';
import { foldWhitening } from '../coders/fold.ts';
import { WEIGHTS_FILE } from '../coders/formats/saelens.ts';
import { architectureNamed } from '../coders/registry.ts';
import type { TrainingCoder } from '../coders/training.ts';
import type { StageContext } from '../context.ts';
import { sha256File, writeFolder } from '../files.ts';
import * as tf from '../tensor/tf.ts';
import { type Calibration, calibrate, type FollowingRows, measureExported } from './calibrate.ts';
import { deadWindow } from './dead-latents.ts';
import { settleParameters } from './optimizer.ts';
import type { HookScales, RowMaps } from './rows.ts';
import type { Run } from './run.ts';
import { whiteningTensors } from './whitening.ts';

/** The coder as it stands, for plain rows: activation scales and, where exact, decoder norms folded into the weights. */
export function exportedCoder(
  coder: TrainingCoder,
  { scales, whitening }: RowMaps,
  foldNorms: boolean,
): Coder {
  const { training } = architectureNamed(coder.cfg.architecture, 'training');
  const { cfg, weights } = training?.exported?.(coder) ?? { cfg: coder.cfg, weights: parametersOf(coder) };
  const architecture = architectureNamed(cfg.architecture, 'training');
  let current = architecture.create(cfg, weights);
  const replace = (next: Coder) => {
    current.dispose();
    current = next;
  };
  if (cfg.normalize_activations === 'expected_average_only_in')
    replace(foldScales(architecture, current, scales));
  if (whitening) {
    const map = whiteningTensors(whitening);
    replace(foldWhitening(current, map));
    tf.dispose([map.mean, map.matrix, map.inverse]);
  }
  // Asked of what has become of the coder: folding scales may have folded norms already.
  if (foldNorms && !architecture.cannotFoldNorms?.(current.cfg)) replace(foldDecoderNorms(current));
  return current;
}

function parametersOf({ parameters }: TrainingCoder): Record<string, tf.Tensor> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, { value }]) => [name, tf.clone(value) as tf.Tensor]),
  );
}

function foldScales(architecture: Architecture, coder: Coder, { in: inputs, out }: HookScales): Coder {
  const outputs = out.length > 0 ? out : inputs;
  if (architecture.foldScales) return architecture.foldScales(coder, { in: inputs, out: outputs });
  return foldActivationScale(coder, inputs[0]!, outputs[0]!);
}

/** What an export leaves. */
export interface Exported {
  /** SHA-256 of the weight file. */
  weights: string;
  /** Of coders that settle something after the last step. */
  calibration?: Calibration;
}

/** Settles what is to be settled, writes `final/` beside and renames it. `trainedL0`: that of the last steps. */
export async function exportCoder(
  run: Run,
  following: FollowingRows,
  { dir, trainedL0, context }: { dir: string; trainedL0: number; context: StageContext },
): Promise<Exported> {
  const { coder, state, settings } = run;
  settleParameters(coder.parameters, settings);
  const rows = await calibrate(run, following, context);
  const exported = exportedCoder(coder, state, settings.fold_decoder_norms);
  try {
    const how = { trained: trainedL0, context };
    const calibration = rows && { ...rows, l0: await measureExported(run, exported, following, how) };
    const weights = await writeExported(run, exported, dir, calibration && { calibration });
    return { weights, ...(calibration && { calibration }) };
  } finally {
    exported.dispose();
  }
}

/**
 * Writes a run's coder to `dir`, with its L0, dead latents and `more` in the metadata, and firing rates beside it.
 * @returns SHA-256 of the weight file
 */
export async function writeExported(
  { counters, settings }: Pick<Run, 'counters' | 'settings'>,
  exported: Coder,
  dir: string,
  more: Record<string, unknown> = {},
): Promise<string> {
  const rates = counters.firingRates();
  const metadata = {
    l0: rates.reduce((sum, rate) => sum + rate, 0),
    num_dead_features: counters.dead(deadWindow(settings)).length,
    ...more,
  };
  Object.assign(exported.cfg, { metadata: { ...exported.cfg.metadata, ...metadata } });
  return write(exported, dir, rates);
}

async function write(coder: Coder, dir: string, firingRate: Float64Array): Promise<string> {
  return writeFolder(dir, 'all', async (part) => {
    await saveCoder(coder, part, { firingRate });
    return sha256File(join(part, WEIGHTS_FILE));
  });
}
