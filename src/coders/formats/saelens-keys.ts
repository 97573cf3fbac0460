/**
 * @file The keys of SAELens's cfg.json, by what they mean for a coder that is run: version 6 (the dataclasses of
 * `sae_lens/saes`, whose loader drops every other key) and the flat files of 2 to 5 (`LanguageModelSAERunnerConfig`).
 */
import type { Architecture } from '../architecture.ts';
import { coderConfig } from '../config.ts';
import { type KeyTable, off } from './keys.ts';

/** Of the training classes, whose checkpoints are read too. */
const TRAINING = [
  'decoder_init_norm',
  'l1_coefficient',
  'l1_warm_up_steps',
  'lp_norm',
  'l0_coefficient',
  'l0_warm_up_steps',
  'target_l0',
  'pre_act_loss_coefficient',
  'jumprelu_init_threshold',
  'jumprelu_bandwidth',
  'jumprelu_sparsity_loss_mode',
  'jumprelu_tanh_scale',
  'jumprelu_ste_to_input',
  'topk_threshold_lr',
  'use_sparse_activations',
  'aux_loss_coefficient',
  'matryoshka_widths',
  'use_matryoshka_aux_loss',
];

const FINE_TUNED = off('latents that are multiplied by factors of a fine-tuning');
const RELU = { harmless: ['relu', null], means: 'another activation than that of the architecture' };

/** cfg.json of version 6 (and ours) for one architecture. */
export function saelensKeys(
  { name, schema, training }: Architecture,
  { d_in }: { d_in?: unknown } = {},
): KeyTable {
  const own = [...shapeOf(schema), ...(training?.coderKeys ?? [])].filter((key) => key !== 'd_out');
  const hasOutput = writesElsewhere(name);
  const used = new Set(hasOutput ? [...own, 'd_out'] : own);
  const trained = new Set(['device', ...TRAINING, ...shapeOf(training?.settings)]);
  return {
    whose: `a ${name} coder`,
    used: [...used],
    neutral: [...trained].filter((key) => !used.has(key)),
    refused: {
      finetuning_scaling_factor: FINE_TUNED,
      activation_fn: RELU,
      activation_fn_str: RELU,
      hook_head_index: { harmless: [null], means: 'rows of one head' },
      ...(!hasOutput && {
        d_out: { harmless: [null, d_in], means: 'a transcoder, whatever the architecture says' },
      }),
    },
  };
}

/** Whether a coder of this architecture has an output of another width than its input: `d_out` in its cfg.json. */
export const writesElsewhere = (architecture: string): boolean =>
  architecture === 'clt' || architecture.endsWith('transcoder');

/** Keys of an object's schema. */
function shapeOf(schema: unknown): string[] {
  const { shape } = (schema ?? {}) as { shape?: Record<string, unknown> };
  return shape ? Object.keys(shape) : schema ? Object.keys(coderConfig.shape) : [];
}

/** What version 6 keeps under metadata. */
export const METADATA_KEYS = [
  'model_name',
  'model_class_name',
  'context_size',
  'prepend_bos',
  'dataset_path',
  'seqpos_slice',
  'exclude_special_tokens',
  'sequence_separator_token',
  'disable_concat_sequences',
  'neuronpedia_id',
  'model_from_pretrained_kwargs',
  'model_kwargs',
  'sae_lens_version',
  'sae_lens_training_version',
];

/** The flat cfg.json of versions 2 to 5. */
export const OLD_KEYS: KeyTable = {
  whose: 'a coder of SAELens 2 to 5',
  used: [
    'architecture',
    'activation_fn',
    'activation_fn_str',
    'activation_fn_kwargs',
    'd_in',
    'd_sae',
    'apply_b_dec_to_input',
    'normalize_activations',
    'finetuning_scaling_factor',
    'reshape_activations',
    'hook_name',
    'hook_point',
    'hook_head_index',
    'hook_point_head_index',
    ...METADATA_KEYS,
  ],
  neutral: [
    ...TRAINING,
    // Where rows came from, beside the hook itself.
    ...['hook_layer', 'hook_point_layer', 'hook_eval', 'hook_point_eval', 'dataset_trust_remote_code'],
    ...['streaming', 'is_dataset_tokenized', 'use_cached_activations', 'cached_activations_path'],
    ...['n_batches_in_buffer', 'tokens_per_buffer', 'store_batch_size_prompts', 'store_batch_size'],
    ...[
      'act_store_device',
      'train_batch_size_tokens',
      'train_batch_size',
      'training_tokens',
      'total_training_tokens',
    ],
    // How it was initialised and trained; noise was added in training only.
    ...[
      'b_dec_init_method',
      'expansion_factor',
      'from_pretrained_path',
      'noise_scale',
      'normalize_sae_decoder',
    ],
    ...['decoder_orthogonal_init', 'decoder_heuristic_init', 'decoder_heuristic_init_norm'],
    ...[
      'init_encoder_as_decoder_transpose',
      'scale_sparsity_penalty_by_decoder_norm',
      'mse_loss_normalization',
    ],
    ...[
      'finetuning_tokens',
      'finetuning_method',
      'use_ghost_grads',
      'adam_beta1',
      'adam_beta2',
      'lr',
      'lr_end',
    ],
    ...[
      'lr_scheduler_name',
      'lr_warm_up_steps',
      'lr_decay_steps',
      'n_restart_cycles',
      'n_batches_for_norm_estimate',
    ],
    ...[
      'feature_sampling_window',
      'dead_feature_window',
      'dead_feature_threshold',
      'dead_feature_estimation_method',
    ],
    ...['feature_reinit_scale', 'eval_batch_size_prompts', 'n_eval_batches', 'n_checkpoints'],
    // The machine, the log, and names.
    ...[
      'dtype',
      'device',
      'seed',
      'autocast',
      'autocast_lm',
      'compile_llm',
      'llm_compilation_mode',
      'compile_sae',
    ],
    ...[
      'sae_compilation_mode',
      'log_to_wandb',
      'log_activations_store_to_wandb',
      'wandb_project',
      'wandb_id',
    ],
    ...[
      'log_optimizer_state_to_wandb',
      'wandb_entity',
      'wandb_log_frequency',
      'eval_every_n_wandb_logs',
      'resume',
    ],
    ...['run_name', 'checkpoint_path', 'verbose', 'sae_lens_run_name', 'trust_remote_code', 'logger'],
  ],
  refused: {
    d_out: { harmless: [null], means: 'a transcoder' },
    hook_name_out: { harmless: [null, ''], means: 'a transcoder' },
    hook_head_index_out: { harmless: [null], means: 'a transcoder' },
    is_transcoder: off('a transcoder'),
    rescale_acts_by_decoder_norm: off('latents measured in decoder norms'),
  },
};
