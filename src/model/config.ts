/**
 * @file `config.json` of a Hugging Face GPT-2 (transformers, `GPT2Config`) checked and turned into the names that
 * TransformerLens uses. Dropout and initialisation settings have no effect here and are not read.
 */
import { z } from 'zod';
import { checked } from '../checked.ts';
import { UnfoldError } from '../errors.ts';

/** The shape of a GPT-2, named as in TransformerLens's `HookedTransformerConfig`. */
export interface GPT2Config {
  n_layers: number;
  d_model: number;
  n_heads: number;
  /** d_model / n_heads. */
  d_head: number;
  d_mlp: number;
  /** Rows of the embedding. */
  d_vocab: number;
  /** Longest input, in tokens. */
  n_ctx: number;
  act_fn: ActivationName;
  /** Layer-norm epsilon, inside the root. */
  eps: number;
  /** Scores are divided by sqrt(d_head). */
  scale_attn_weights: boolean;
  /** Scores of layer l are further divided by l + 1. */
  scale_attn_by_inverse_layer_idx: boolean;
  /** The unembedding is the embedding's transpose. */
  tie_word_embeddings: boolean;
  bos_token_id?: number;
  eos_token_id?: number;
}

/** Activation functions of GPT-2's MLP. `gelu_new` is the tanh form, `gelu` the exact one. */
export type ActivationName = 'gelu_new' | 'gelu' | 'relu' | 'silu' | 'tanh';

const activations: Record<string, ActivationName> = {
  gelu_new: 'gelu_new',
  gelu_pytorch_tanh: 'gelu_new',
  gelu_fast: 'gelu_new',
  gelu: 'gelu',
  relu: 'relu',
  silu: 'silu',
  swish: 'silu',
  tanh: 'tanh',
};

/** Sizes are held against the tensors when these are read; none that a machine could hold is near this. */
const size = z
  .int()
  .positive()
  .max(2 ** 31 - 1);
const token = z.int().nonnegative().nullish();

const HuggingFaceConfig = z.object({
  model_type: z.string().default('gpt2'),
  n_layer: size.optional(),
  num_hidden_layers: size.optional(),
  n_embd: size.optional(),
  hidden_size: size.optional(),
  n_head: size.optional(),
  num_attention_heads: size.optional(),
  n_inner: size.nullish(),
  n_positions: size.optional(),
  n_ctx: size.optional(),
  max_position_embeddings: size.optional(),
  vocab_size: size.default(50257),
  activation_function: z.string().default('gelu_new'),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
  add_cross_attention: z.boolean().default(false),
  bos_token_id: token,
  eos_token_id: z.union([token, z.array(z.int())]),
});

/**
 * Checks a parsed `config.json`; absent entries take `GPT2Config`'s defaults (those of GPT-2 small).
 * @throws UnfoldError `bad-config` that lists every setting that is wrong.
 */
export function parseGPT2Config(path: string, json: unknown): GPT2Config {
  const hf = checked(HuggingFaceConfig, json, {
    where: path,
    kind: 'bad-config',
    expected: 'the configuration of a GPT-2 language model (GPT2LMHeadModel)',
    todo: 'give a GPT-2 model; if this is one, correct the setting',
  });
  const d_model = hf.n_embd ?? hf.hidden_size ?? 768;
  const n_heads = hf.n_head ?? hf.num_attention_heads ?? 12;
  const act_fn = Object.hasOwn(activations, hf.activation_function)
    ? activations[hf.activation_function]
    : undefined;
  if (hf.model_type !== 'gpt2') throw badConfig(path, `model_type ${short(hf.model_type)}`);
  if (hf.add_cross_attention) throw badConfig(path, 'add_cross_attention true');
  if (d_model % n_heads)
    throw badConfig(path, `n_embd ${d_model}, which is not a multiple of n_head ${n_heads}`);
  if (!act_fn) {
    const known = Object.keys(activations).join(', ');
    throw badConfig(path, `activation_function ${short(hf.activation_function)} (known: ${known})`);
  }
  const eos = Array.isArray(hf.eos_token_id) ? hf.eos_token_id[0] : hf.eos_token_id;
  return {
    n_layers: hf.n_layer ?? hf.num_hidden_layers ?? 12,
    d_model,
    n_heads,
    d_head: d_model / n_heads,
    d_mlp: hf.n_inner ?? 4 * d_model,
    d_vocab: hf.vocab_size,
    n_ctx: hf.n_positions ?? hf.max_position_embeddings ?? hf.n_ctx ?? 1024,
    act_fn,
    eps: hf.layer_norm_epsilon,
    scale_attn_weights: hf.scale_attn_weights,
    scale_attn_by_inverse_layer_idx: hf.scale_attn_by_inverse_layer_idx,
    tie_word_embeddings: hf.tie_word_embeddings,
    ...(hf.bos_token_id != null && { bos_token_id: hf.bos_token_id }),
    ...(eos != null && { eos_token_id: eos }),
  };
}

/** Factor on the attention scores of layer `layer`. */
export function attentionScale(cfg: GPT2Config, layer: number): number {
  const byWidth = cfg.scale_attn_weights ? 1 / Math.sqrt(cfg.d_head) : 1;
  return cfg.scale_attn_by_inverse_layer_idx ? byWidth / (layer + 1) : byWidth;
}

const short = (name: string) => (name.length <= 60 ? name : `${name.slice(0, 60)}…`);

function badConfig(path: string, found: string): UnfoldError {
  return new UnfoldError('bad-config', {
    where: path,
    expected: 'the configuration of a GPT-2 language model (GPT2LMHeadModel)',
    found,
    todo: 'give a GPT-2 model; if this is one, correct the setting in config.json',
  });
}
