/**
 * @file Transcoders (Dunefsky et al., 2024) and their skip variants (Paulo et al., 2025), to be loaded and run: a coder
 * that reads one activation (an MLP's input) and writes another (its output). `sae_lens/saes/transcoder.py` has four
 * classes, relu or JumpReLU, with or without an affine skip path; they differ in two lines. b_dec has d_out entries and
 * is never subtracted from the input. Training them comes later.
 */
import { z } from 'zod';
import * as tf from '../tensor/tf.ts';
import type { Architecture } from './architecture.ts';
import type { Weights } from './base.ts';
import { type CoderConfig, coderConfig } from './config.ts';
import { JumpReLUCoder, jumprelu } from './jumprelu.ts';
import { flattenRows } from './rows.ts';
import { StandardCoder, standard } from './standard.ts';

const schema = coderConfig.extend({
  d_out: z.int().positive(),
  apply_b_dec_to_input: z.literal(false, {
    error: 'must be false: b_dec is a bias of the output, it cannot be subtracted from the input',
  }),
});

/** W_skip [d_out, d_in] sees the rows as they come, before any normalisation. */
function skip(x: tf.Tensor, output: tf.Tensor, cfg: CoderConfig, weights: Weights): tf.Tensor {
  const { rows } = flattenRows(x, cfg);
  const added = tf.matMul(rows, weights.W_skip as tf.Tensor2D, false, true);
  return tf.add(output, tf.reshape(added, output.shape));
}

class SkipTranscoder extends StandardCoder {
  override forward(x: tf.Tensor): tf.Tensor {
    return tf.tidy(() => skip(x, super.forward(x), this.cfg, this.weights));
  }
}

class JumpReLUSkipTranscoder extends JumpReLUCoder {
  override forward(x: tf.Tensor): tf.Tensor {
    return tf.tidy(() => skip(x, super.forward(x), this.cfg, this.weights));
  }
}

const withoutTraining = { schema, training: undefined };
const skipShape = { W_skip: ['d_out', 'd_in'] } as const;

export const transcoder: Architecture = {
  ...standard,
  ...withoutTraining,
  name: 'transcoder',
  about: 'relu latents from one activation to another',
};

export const skipTranscoder: Architecture = {
  ...transcoder,
  name: 'skip_transcoder',
  about: 'a transcoder with an affine skip path',
  shapes: { ...standard.shapes, ...skipShape },
  create: (cfg, weights) => new SkipTranscoder(cfg, weights),
};

export const jumpreluTranscoder: Architecture = {
  ...jumprelu,
  ...withoutTraining,
  name: 'jumprelu_transcoder',
  about: 'a transcoder with JumpReLU latents',
};

export const jumpreluSkipTranscoder: Architecture = {
  ...jumpreluTranscoder,
  name: 'jumprelu_skip_transcoder',
  about: 'a transcoder with JumpReLU latents and an affine skip path',
  shapes: { ...jumprelu.shapes, ...skipShape },
  create: (cfg, weights) => new JumpReLUSkipTranscoder(cfg, weights),
};
