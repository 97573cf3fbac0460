/**
 * @file What the field's other programs call our settings (SAELens, dictionary_learning, sparsify, OpenAI's and Anthropic's
 * code): whoever writes one of these is told the name it has here, and not the name that is spelled most like it.
 */
import { nearest } from './errors.ts';

/** Our name, or a sentence where it is not a matter of the name alone, by the other name. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  learning_rate: 'lr',
  lr_schedule: 'lr_scheduler_name',
  lr_scheduler: 'lr_scheduler_name',
  scheduler: 'lr_scheduler_name',
  warmup_steps: 'lr_warm_up_steps',
  warm_up_steps: 'lr_warm_up_steps',
  lr_warmup_steps: 'lr_warm_up_steps',
  decay_steps: 'lr_decay_steps',
  decay_start: 'lr_decay_steps',
  sparsity_warmup_steps: 'l1_warm_up_steps',
  l1_warmup_steps: 'l1_warm_up_steps',
  top_k: 'k',
  topk: 'k',
  num_active: 'k',
  k_anneal: 'k_anneal_steps',
  dict_size: 'd_sae',
  dictionary_size: 'd_sae',
  activation_dim: 'd_sae',
  n_features: 'd_sae',
  num_features: 'd_sae',
  n_latents: 'd_sae',
  num_latents: 'd_sae',
  n_dirs: 'd_sae',
  d_hidden: 'd_sae',
  d_dict: 'd_sae',
  expansion_factor: 'd_sae, which is the expansion factor times the width of the rows',
  l1_coeff: 'l1_coefficient',
  l1_penalty: 'l1_coefficient',
  l1_lambda: 'l1_coefficient',
  lambda: 'l1_coefficient',
  l0_coeff: 'l0_coefficient',
  l0_penalty: 'l0_coefficient',
  l0_lambda: 'l0_coefficient',
  sparsity_coefficient: 'l1_coefficient (standard, gated) or l0_coefficient (jumprelu)',
  sparsity_penalty: 'l1_coefficient (standard, gated) or l0_coefficient (jumprelu)',
  bandwidth: 'jumprelu_bandwidth',
  auxk_alpha: 'aux_loss_coefficient',
  auxk_coef: 'aux_loss_coefficient',
  batch_size: 'train_batch_size_tokens',
  train_batch_size: 'train_batch_size_tokens',
  sae_batch_size: 'train_batch_size_tokens',
  num_tokens: 'training_tokens',
  n_tokens: 'training_tokens',
  total_tokens: 'training_tokens',
  total_training_tokens: 'training_tokens',
  training_steps: 'training_tokens, which is steps times train_batch_size_tokens',
  steps: 'training_tokens, which is steps times train_batch_size_tokens',
  hook_point: 'hook_name',
  hookpoint: 'hook_name',
  hook: 'hook_name',
  hookpoints: 'hook_names',
  hook_points: 'hook_names',
  hook_layer: 'hook_name, which has the layer in it: blocks.N.hook_resid_pre',
  context_length: 'context_size',
  ctx_len: 'context_size',
  max_length: 'context_size',
  seq_len: 'context_size',
  dataset_path: 'dataset',
  model_name: 'model',
  dead_steps_threshold: 'dead_feature_window',
  dead_feature_threshold: 'dead_feature_window',
  dead_tokens_threshold: 'dead_feature_window',
  dead_toks_threshold: 'dead_feature_window',
  activation_fn: 'architecture',
  sae_type: 'architecture',
  trainer: 'architecture',
  normalize_acts: 'normalize_activations',
  normalize_decoder: 'decoder_unit_norm',
  beta1: 'adam_beta1',
  beta2: 'adam_beta2',
  eps: 'adam_eps',
  grad_clip: 'max_grad_norm',
  clip_grad: 'max_grad_norm',
  output_dir: 'out',
  save_dir: 'out',
  output_path: 'out',
  checkpoint_path: 'out',
};

/** Architectures by other programs' names. */
const OTHER_ARCHITECTURES: Readonly<Record<string, string>> = {
  relu: 'standard',
  vanilla: 'standard',
  l1: 'standard',
  sae: 'standard',
  'top-k': 'topk',
  top_k: 'topk',
  'batch-topk': 'batchtopk',
  batch_topk: 'batchtopk',
  batch_top_k: 'batchtopk',
  jump_relu: 'jumprelu',
  'jump-relu': 'jumprelu',
  gated_sae: 'gated',
  matryoshka: 'matryoshka_batchtopk',
  cross_layer_transcoder: 'clt',
  group_max: 'groupmax',
  mp: 'matching_pursuit',
};

const plain = (name: string) =>
  name
    .replace(/^--(no-)?/, '')
    .replaceAll('-', '_')
    .toLowerCase();

/**
 * What is meant by a name that is none: `lr`, or a sentence; undefined if the table does not say, or says a name that
 * cannot be given there.
 * @param known names that can be given, with underscores
 */
export function otherNameOf(name: string, known: readonly string[]): string | undefined {
  const own = plain(name);
  const meant = Object.hasOwn(OTHER_NAMES, own) ? OTHER_NAMES[own]! : undefined;
  if (meant === undefined) return undefined;
  const words = meant.match(/\w+/g) ?? [];
  return words.some((word) => known.includes(word)) ? meant : undefined;
}

/** The architecture that another program's name means. */
export function otherArchitecture(name: unknown): string | undefined {
  const own = String(name).toLowerCase();
  return Object.hasOwn(OTHER_ARCHITECTURES, own) ? OTHER_ARCHITECTURES[own] : undefined;
}

/** `write lr`, or the names that are spelled most like it. */
export function suggestionFor(name: string, known: readonly string[]): string {
  const meant = otherNameOf(name, known);
  return meant === undefined ? `perhaps ${nearest(name, known).join(', ')}` : `write ${meant}`;
}
