/**
 * @file SAELens 6 folders, which are Unfold's own layout too, as a source of coders: inference classes, checkpoints of
 * training classes, and Unfold's cross-layer transcoders and crosscoders. saelens.ts reads and writes the files.
 */

import { join } from 'node:path';
import { UnfoldError } from '../../errors.ts';
import { hookLayer } from '../../model/hook-names.ts';
import { openSafetensors } from '../../model/safetensors.ts';
import type { CoderConfig } from '../config.ts';
import { cannotExport, withCoder } from './cannot-export.ts';
import type { CoderFormat, CoderSource, StoredTensor, WritableCoder, WriteOptions } from './format.ts';
import { strangeFiles } from './keys.ts';
import type { Place } from './place.ts';
import { checkRecorded } from './recorded.ts';
import {
  CFG_FILE,
  checkShapes,
  isOldLayout,
  parseConfig,
  readSaeLens,
  SCALER_FILE,
  SPARSITY_FILE,
  WEIGHTS_FILE,
  writeSaeLens,
} from './saelens.ts';
import { STAND_INS, WHITENING_FILE } from './saelens-checkpoint.ts';
import { thresholdWarning } from './saelens-threshold.ts';
import { tensorsOf } from './stored.ts';

export const saelens: CoderFormat = {
  name: 'saelens',
  about: 'SAELens 6 and Unfold: cfg.json with metadata, and sae_weights.safetensors',

  async detect(place: Place) {
    const fields = await place.json(CFG_FILE);
    if (!fields || isOldLayout(fields)) return undefined;
    if (place.names.has(WEIGHTS_FILE)) return `${CFG_FILE} and ${WEIGHTS_FILE}`;
    return 'architecture' in fields ? `${CFG_FILE} with an architecture` : undefined;
  },

  async open(place: Place): Promise<CoderSource> {
    const where = place.join(CFG_FILE);
    await checkRecorded(place.path, [CFG_FILE]);
    const { cfg, architecture, warnings } = parseConfig(await place.json(CFG_FILE), where);
    const weights = await openSafetensors(place.join(WEIGHTS_FILE));
    await weights.close();
    const tensors = tensorsOf(weights);
    boundLayers(cfg, tensors, where);
    const own = Object.keys(architecture.tensors?.(cfg) ?? architecture.shapes);
    refuseStrangers(tensors, own, weights.path);
    checkShapes(weights, cfg, architecture);
    const warning = await thresholdWarning(place, cfg, tensors);
    const said = [
      ...warnings,
      ...(warning ? [warning] : []),
      ...unscaledWarning(place, cfg),
      ...strangeFiles(place.names, (name) => OWN_FILES.includes(name)),
    ];
    const entry = {
      name: place.name,
      layer: hookLayer(String(cfg.metadata.hook_name ?? '')),
      cfg,
      files: weights.files,
      tensors,
      notes: [],
      warnings: said,
      load: () => readSaeLens(place.path),
    };
    return { format: 'saelens', path: place.path, kind: 'coder', entries: [entry] };
  },

  async write(coders: readonly WritableCoder[], dir: string, { dtype }: WriteOptions): Promise<string[]> {
    for (const entry of coders) refuseUnknown(entry);
    for (const entry of coders) {
      const folder = coders.length === 1 ? dir : join(dir, entry.name);
      await withCoder(entry, (coder) => writeSaeLens(coder, folder, dtype ? { dtype } : {}));
    }
    return coders.map(({ name }) => name);
  },
};

/** SAELens 6.54's registry, and the training classes of which its inference classes come. */
const SAELENS_ARCHITECTURES = [
  'abstopk',
  'gated',
  'jumprelu',
  'jumprelu_skip_transcoder',
  'jumprelu_transcoder',
  'matching_pursuit',
  'skip_transcoder',
  'standard',
  'temporal',
  'topk',
  'transcoder',
  'batchtopk',
  'matryoshka_batchtopk',
];

function refuseUnknown({ name, cfg: { architecture } }: WritableCoder): void {
  if (SAELENS_ARCHITECTURES.includes(architecture)) return;
  throw cannotExport(
    name,
    'saelens',
    `architecture ${architecture}, which SAELens does not have`,
    'unfold import brings any coder into this layout for Unfold itself',
  );
}

/** Files of this layout and of runs in training, which are read elsewhere or say nothing about the coder. */
const OWN_FILES = [
  WEIGHTS_FILE,
  SPARSITY_FILE,
  WHITENING_FILE,
  'log_feature_sparsity.safetensors',
  'latents.safetensors',
  'optimizer.safetensors',
  'moments.safetensors',
  'trainer_state.pt',
  'activations_store_state.safetensors',
];

/** Coders of many layers have tensors for each: more layers than tensors are a number that is not to be believed. */
function boundLayers(cfg: CoderConfig, tensors: readonly StoredTensor[], where: string): void {
  for (const key of ['n_layers', 'n_attn_layers']) {
    const layers = cfg[key];
    if (typeof layers !== 'number' || layers <= tensors.length) continue;
    throw new UnfoldError('bad-coder', {
      where: `${where}: ${key}`,
      expected: `at most the ${tensors.length} layers that ${tensors.length} tensors can make`,
      found: String(layers),
      todo: `check that ${CFG_FILE} and ${WEIGHTS_FILE} belong together`,
    });
  }
}

/** Rows that were scaled or whitened outside of the coder, by factors that are nowhere. */
function unscaledWarning(place: Place, { normalize_activations: kind }: CoderConfig): string[] {
  const isOutside = kind === 'expected_average_only_in' || kind === 'covariance_whitening';
  if (!isOutside || place.names.has(SCALER_FILE)) return [];
  const how = kind === 'covariance_whitening' ? 'whitened rows' : 'rows scaled to a mean norm of sqrt(d_in)';
  return [
    `it was trained on ${how} (normalize_activations: ${kind}); there is no ${SCALER_FILE} to undo it, so plain rows do not fit it`,
  ];
}

/** What the architecture does not ask for (a W_skip, a second threshold) would be left out without a word; SAELens refuses it. */
function refuseStrangers(tensors: readonly StoredTensor[], own: readonly string[], where: string): void {
  const names = tensors.map(({ name }) => name);
  // A stand-in takes the place of a tensor that is not there.
  const standsIn = (name: string) => own.some((o) => STAND_INS[o] === name && !names.includes(o));
  const strangers = tensors.filter(({ name }) => !own.includes(name) && !standsIn(name));
  if (strangers.length === 0) return;
  throw new UnfoldError('bad-coder', {
    where,
    expected: `the tensors of its architecture: ${own.join(', ')}`,
    found: `also ${strangers.map(({ name }) => name).join(', ')}`,
    todo: `check the architecture in ${CFG_FILE}: another one has these tensors`,
  });
}
