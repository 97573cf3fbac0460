/**
 * @file One attention layer with TransformerLens's hook points. What runs depends on who looks: without hooks on scores
 * or pattern one fused kernel makes z; with per-head inputs (`use_split_qkv_input`, `use_attn_in`) layer norm and
 * projections run once per head, as TransformerLens does; otherwise queries, keys and values are three plain products.
 */

import { causalAttention } from '../tensor/kernels/causal-attention.ts';
import { linearResidual } from '../tensor/kernels/fused-linear.ts';
import { linear } from '../tensor/kernels/linear.ts';
import * as tf from '../tensor/tf.ts';
import { attentionScale } from './config.ts';
import type { BlockSite } from './forward.ts';
import { hookedLayerNorm } from './norm.ts';

type Q = 'q' | 'k' | 'v';

/** `x` [batch, pos, d_model] (the residual stream before the layer) to `hook_resid_mid`, before its hook. */
export function attention(x: tf.Tensor3D, site: BlockSite): tf.Tensor3D {
  const { hooks, prefix, weights, cfg } = site;
  const [batch, pos] = x.shape;
  const z = hooks.fire(
    `${prefix}attn.hook_z`,
    tf.tidy(() => mix(queriesKeysValues(x, site), site)),
  );
  const name = `${prefix}hook_attn_out`;
  const mixed = () => tf.reshape(z, [batch, pos, cfg.d_model]);
  // Where nobody looks at the layer's output it is added to the residual stream while it is warm.
  if (!hooks.wants(name, `${prefix}attn.hook_result`)) {
    return linearResidual(x, mixed(), weights.W_O, weights.b_O) as tf.Tensor3D;
  }
  const out = hooks.wants(`${prefix}attn.hook_result`)
    ? perHeadResult(z as tf.Tensor4D, site)
    : linear(mixed(), weights.W_O, weights.b_O);
  return tf.add(x, hooks.fire(name, out));
}

type Heads = Record<Q, tf.Tensor4D>;

/** q, k and v, [batch, pos, head, d_head] each, with earlier keys and values in front if there is a cache. */
function queriesKeysValues(x: tf.Tensor3D, site: BlockSite): Heads {
  const { hooks, prefix, past, layer } = site;
  const heads = perHeadInputs(site) ? projectPerHead(x, site) : projectTogether(x, site);
  for (const kind of ['q', 'k', 'v'] as const) {
    heads[kind] = hooks.fire(`${prefix}attn.hook_${kind}`, heads[kind]) as tf.Tensor4D;
  }
  return past ? { q: heads.q, ...past.append(layer, heads.k, heads.v) } : heads;
}

/** True if a hook point with a head axis before layer norm 1 is looked at. */
function perHeadInputs({ flags, hooks, prefix }: BlockSite): boolean {
  if (!flags.use_attn_in && !flags.use_split_qkv_input) return false;
  const names = [
    'hook_attn_in',
    'hook_q_input',
    'hook_k_input',
    'hook_v_input',
    'ln1.hook_scale',
    'ln1.hook_normalized',
  ];
  return hooks.wants(...names.map((name) => prefix + name));
}

function projectTogether(x: tf.Tensor3D, site: BlockSite): Heads {
  const { weights: w, cfg, prefix, hooks } = site;
  const shape: [number, number, number, number] = [x.shape[0], x.shape[1], cfg.n_heads, cfg.d_head];
  const normalized = hookedLayerNorm(x, { name: `${prefix}ln1`, weights: w.ln1, eps: cfg.eps, hooks });
  const project = (W: tf.Tensor2D, b: tf.Tensor1D) =>
    tf.reshape(linear(normalized, W, b), shape) as tf.Tensor4D;
  return { q: project(w.W_Q, w.b_Q), k: project(w.W_K, w.b_K), v: project(w.W_V, w.b_V) };
}

/** Each head reads its own copy of the residual stream, so that a hook can change what one head sees. */
function projectPerHead(x: tf.Tensor3D, site: BlockSite): Heads {
  const { flags, hooks, prefix, weights, cfg } = site;
  const [batch, pos, width] = x.shape;
  const copies = () => tf.tile(tf.reshape(x, [batch, pos, 1, width]), [1, 1, cfg.n_heads, 1]) as tf.Tensor4D;
  const shared = flags.use_attn_in
    ? (hooks.fire(`${prefix}hook_attn_in`, copies()) as tf.Tensor4D)
    : undefined;
  const kinds = ['q', 'k', 'v'] as const;
  const inputs = kinds.map((kind) =>
    flags.use_split_qkv_input
      ? (hooks.fire(`${prefix}hook_${kind}_input`, copies()) as tf.Tensor4D)
      : shared!,
  );
  const norm = { name: `${prefix}ln1`, weights: weights.ln1, eps: cfg.eps, hooks };
  const maps = {
    q: [weights.W_Q, weights.b_Q],
    k: [weights.W_K, weights.b_K],
    v: [weights.W_V, weights.b_V],
  } as const;
  const [q, k, v] = kinds.map((kind, i) => {
    const normalized = hookedLayerNorm(inputs[i]!, { ...norm, last: kind === 'v' });
    return projectHeads(normalized, ...maps[kind], site);
  });
  return { q, k, v } as Heads;
}

/** [batch, pos, head, d_model] by `W` [d_model, d_model], head by head, to [batch, pos, head, d_head]. */
function projectHeads(x: tf.Tensor4D, W: tf.Tensor2D, b: tf.Tensor1D, { cfg }: BlockSite): tf.Tensor4D {
  const { n_heads, d_head, d_model } = cfg;
  const [batch, pos] = x.shape;
  const W_heads = tf.transpose(tf.reshape(W, [d_model, n_heads, d_head]), [1, 0, 2]);
  const rows = tf.reshape(tf.transpose(x, [2, 0, 1, 3]), [n_heads, batch * pos, d_model]);
  const out = tf.reshape(tf.matMul(rows, W_heads), [n_heads, batch, pos, d_head]);
  return tf.add(tf.transpose(out, [1, 2, 0, 3]), tf.reshape(b, [n_heads, d_head]));
}

/** Attention from q, k, v to z [batch, pos, head, d_head]. */
function mix({ q, k, v }: Heads, site: BlockSite): tf.Tensor4D {
  const { hooks, prefix, mask, cfg, layer } = site;
  const scale = attentionScale(cfg, layer);
  const scoresName = `${prefix}attn.hook_attn_scores`;
  const patternName = `${prefix}attn.hook_pattern`;
  if (!mask && !hooks.wants(scoresName, patternName)) return causalAttention(q, k, v, { scale });
  const byHead = (t: tf.Tensor4D) => tf.transpose(t, [0, 2, 1, 3]);
  const raw = tf.mul(tf.matMul(byHead(q), byHead(k), false, true), scale);
  const allowed = mask ?? causalMask(q.shape[1], k.shape[1]);
  const scores = hooks.fire(scoresName, tf.where(allowed, raw, Number.NEGATIVE_INFINITY));
  const pattern = hooks.fire(patternName, attentionPattern(scores));
  return tf.transpose(tf.matMul(pattern, byHead(v)), [0, 2, 1, 3]) as tf.Tensor4D;
}

/** [1, 1, query, key] bool: the last query sees every key, the one before it all but the last, and so on. */
export function causalMask(queries: number, keys: number): tf.Tensor4D {
  const allowed = Uint8Array.from({ length: queries * keys }, (_, i) => {
    return i % keys <= Math.floor(i / keys) + keys - queries ? 1 : 0;
  });
  return tf.tensor4d(allowed, [1, 1, queries, keys], 'bool');
}

/**
 * Softmax over the last axis. A row without a finite score (a padded query, or one that a hook masked wholly) attends
 * to nothing: zeros, where plain softmax gives NaN; as TransformerLens.
 */
export const attentionPattern = tf.customGrad((scores, save) => {
  const alive = tf.greater(tf.max(scores as tf.Tensor, -1, true), Number.NEGATIVE_INFINITY);
  const pattern = tf.where(alive, tf.softmax(tf.where(alive, scores as tf.Tensor, 0)), 0);
  (save as tf.GradSaveFunc)([pattern]);
  const gradFunc = (dy: tf.Tensor, [saved]: tf.Tensor[]) => {
    const weighted = tf.mul(dy, saved!);
    return tf.sub(weighted, tf.mul(tf.sum(weighted, -1, true), saved!));
  };
  return { value: pattern, gradFunc };
}) as (scores: tf.Tensor) => tf.Tensor;

/** `hook_result`: z of each head by its rows of W_O, [batch, pos, head, d_model]; the sum and b_O are the output. */
function perHeadResult(z: tf.Tensor4D, { hooks, prefix, weights, cfg }: BlockSite): tf.Tensor3D {
  const { n_heads, d_head, d_model } = cfg;
  const [batch, pos] = z.shape;
  const rows = tf.reshape(tf.transpose(z, [2, 0, 1, 3]), [n_heads, batch * pos, d_head]);
  const out = tf.matMul(rows, tf.reshape(weights.W_O, [n_heads, d_head, d_model]));
  const byToken = tf.transpose(tf.reshape(out, [n_heads, batch, pos, d_model]), [1, 2, 0, 3]);
  const result = hooks.fire(`${prefix}attn.hook_result`, byToken);
  return tf.add(tf.sum(result, 2), weights.b_O) as tf.Tensor3D;
}
