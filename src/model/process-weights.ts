/**
 * @file TransformerLens's weight processing: the same function with weights that are easier to read. Everything is made
 * anew, in float32; the original model keeps its weights.
 */
import * as tf from '../tensor/tf.ts';
import { allTensors, type BlockWeights, type GPT2Weights, type LayerNormWeights } from './weights.ts';

/** Each does what TransformerLens's setting of the same name does; all off by default. */
export interface ProcessOptions {
  /** Folds weight and bias of every layer norm into the map behind it, and centres that map over d_model. */
  fold_ln?: boolean;
  /** Takes the mean over d_model out of everything that writes to the residual stream. */
  center_writing_weights?: boolean;
  /** Takes the mean over the vocabulary out of the unembedding: logits lose their mean. */
  center_unembed?: boolean;
  /** Moves value biases into b_O (attention weights sum to 1), so that v has no bias. */
  fold_value_biases?: boolean;
}

/** All four, TransformerLens's defaults in `from_pretrained`. */
export const standardProcessing: Required<ProcessOptions> = {
  fold_ln: true,
  center_writing_weights: true,
  center_unembed: true,
  fold_value_biases: true,
};

/** Processed copies of `weights`, in TransformerLens's order of steps. */
export function processWeights(weights: GPT2Weights, options: ProcessOptions): GPT2Weights {
  let result = weights;
  tf.tidy(() => {
    let processed = { ...weights };
    if (options.fold_ln) processed = foldLayerNorms(processed);
    if (options.center_writing_weights) processed = centreWriting(processed);
    if (options.center_unembed) processed = centreUnembed(processed);
    if (options.fold_value_biases) {
      processed = { ...processed, blocks: processed.blocks.map((block) => foldValueBias(block)) };
    }
    result = own(processed);
    return allTensors(result);
  });
  return result;
}

/** x minus its mean over `axis`. */
const centre = <T extends tf.Tensor>(x: T, axis: number): T => tf.sub(x, tf.mean(x, axis, true));

function foldLayerNorms(weights: GPT2Weights): GPT2Weights {
  const { ln_final, W_U, b_U, ...rest } = weights;
  const blocks = rest.blocks.map(({ ln1, ln2, ...block }) => {
    const [W_Q, b_Q] = foldInto(ln1, block.W_Q, block.b_Q);
    const [W_K, b_K] = foldInto(ln1, block.W_K, block.b_K);
    const [W_V, b_V] = foldInto(ln1, block.W_V, block.b_V);
    const [W_in, b_in] = foldInto(ln2, block.W_in, block.b_in);
    return { ...block, W_Q, b_Q, W_K, b_K, W_V, b_V, W_in, b_in };
  });
  if (!ln_final) return { ...weights, blocks };
  const shift = tf.reshape(tf.matMul(W_U, tf.expandDims(ln_final.b, 1)), [-1]) as tf.Tensor1D;
  return {
    ...rest,
    blocks,
    W_U: centre(tf.mul(W_U, ln_final.w), 1),
    b_U: b_U ? (tf.add(b_U, shift) as tf.Tensor1D) : shift,
  };
}

/** (x̂·w + b_ln) W + b = x̂ (w W) + (b_ln W + b); x̂ is centred, so the mean of each column of w W reads nothing. */
function foldInto(
  ln: LayerNormWeights | undefined,
  W: tf.Tensor2D,
  b: tf.Tensor1D,
): [tf.Tensor2D, tf.Tensor1D] {
  if (!ln) return [W, b];
  const shift = tf.reshape(tf.matMul(tf.expandDims(ln.b, 0), W), [-1]);
  const folded = centre(tf.mul(W, tf.expandDims(ln.w, 1)) as tf.Tensor2D, 0);
  return [folded, tf.add(b, shift) as tf.Tensor1D];
}

function centreWriting(weights: GPT2Weights): GPT2Weights {
  const blocks = weights.blocks.map((block) => ({
    ...block,
    W_O: centre(block.W_O, 1),
    b_O: centre(block.b_O, 0),
    W_out: centre(block.W_out, 1),
    b_out: centre(block.b_out, 0),
  }));
  return { ...weights, blocks, W_E: centre(weights.W_E, 1), W_pos: centre(weights.W_pos, 1) };
}

function centreUnembed(weights: GPT2Weights): GPT2Weights {
  const { W_U, b_U } = weights;
  return { ...weights, W_U: centre(W_U, 0), ...(b_U && { b_U: centre(b_U, 0) }) };
}

function foldValueBias(block: BlockWeights): BlockWeights {
  const shift = tf.reshape(tf.matMul(tf.expandDims(block.b_V, 0), block.W_O), [-1]);
  return { ...block, b_V: tf.zerosLike(block.b_V), b_O: tf.add(block.b_O, shift) };
}

/** Clones, so that a tensor shared with the original model can be disposed by either; a tied head stays one tensor. */
function own(weights: GPT2Weights): GPT2Weights {
  const W_E = tf.clone(weights.W_E);
  const W_U = weights.W_U === weights.W_E ? W_E : tf.clone(weights.W_U);
  const clone = <T>(value: T): T => {
    if (value instanceof tf.Tensor) return tf.clone(value) as T;
    if (Array.isArray(value)) return value.map(clone) as T;
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, clone(entry)])) as T;
  };
  const { W_E: _e, W_U: _u, ...rest } = weights;
  return { ...clone(rest), W_E, W_U };
}
