/** @file A GPT-2's weights under TransformerLens's names and in its shapes (its `state_dict`). */
import * as tf from '../tensor/tf.ts';
import type { GPT2Config } from './config.ts';
import type { BlockWeights, GPT2Weights, LayerNormWeights } from './weights.ts';

/**
 * New tensors by name: W_Q, W_K, W_V [head, d_model, d_head], b_Q … [head, d_head], W_O [head, d_head, d_model], W_in
 * [d_model, d_mlp], W_out [d_mlp, d_model], W_E [d_vocab, d_model], W_U [d_model, d_vocab], b_U [d_vocab] (zeros unless
 * folded). Folded layer norms are absent. The caller disposes them.
 */
export function tlWeights(cfg: GPT2Config, weights: GPT2Weights): Record<string, tf.Tensor> {
  return tf.tidy(() => {
    const blocks = weights.blocks.map((block, l) => prefixed(`blocks.${l}.`, tlBlock(cfg, block)));
    return {
      'embed.W_E': tf.clone(weights.W_E),
      'pos_embed.W_pos': tf.clone(weights.W_pos),
      ...Object.assign({}, ...blocks),
      ...norm('ln_final', weights.ln_final),
      'unembed.W_U': tf.transpose(weights.W_U),
      'unembed.b_U': weights.b_U ? tf.clone(weights.b_U) : tf.zeros([cfg.d_vocab]),
    } as Record<string, tf.Tensor>;
  });
}

function tlBlock({ n_heads, d_head, d_model }: GPT2Config, block: BlockWeights): Record<string, tf.Tensor> {
  const byHead = (W: tf.Tensor2D) => tf.transpose(tf.reshape(W, [d_model, n_heads, d_head]), [1, 0, 2]);
  const biases = (b: tf.Tensor1D) => tf.reshape(b, [n_heads, d_head]);
  const attention = {
    W_Q: byHead(block.W_Q),
    W_K: byHead(block.W_K),
    W_V: byHead(block.W_V),
    b_Q: biases(block.b_Q),
    b_K: biases(block.b_K),
    b_V: biases(block.b_V),
    W_O: tf.reshape(block.W_O, [n_heads, d_head, d_model]),
    b_O: tf.clone(block.b_O),
  };
  const mlp = { W_in: block.W_in, b_in: block.b_in, W_out: block.W_out, b_out: block.b_out };
  return {
    ...norm('ln1', block.ln1),
    ...norm('ln2', block.ln2),
    ...prefixed('attn.', attention),
    ...prefixed(
      'mlp.',
      Object.fromEntries(Object.entries(mlp).map(([name, tensor]) => [name, tf.clone(tensor)])),
    ),
  };
}

function norm(name: string, weights: LayerNormWeights | undefined): Record<string, tf.Tensor> {
  return weights ? { [`${name}.w`]: tf.clone(weights.w), [`${name}.b`]: tf.clone(weights.b) } : {};
}

function prefixed(prefix: string, tensors: Record<string, tf.Tensor>): Record<string, tf.Tensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [prefix + name, tensor]));
}
