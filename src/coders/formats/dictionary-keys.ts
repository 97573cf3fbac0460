/** @file The keys of dictionary_learning's config.json: what trainers (`trainers/*.py`) and buffers (`buffer.py`) write. */
import { type KeyTable, off } from './keys.ts';

/** `trainer`. `normalize_activations` and its factor are in the saved weights already (`scale_biases`). */
export const TRAINER_KEYS: KeyTable = {
  whose: 'a trainer of dictionary_learning',
  used: ['dict_class', 'k', 'activation_dim', 'dict_size', 'layer', 'lm_name', 'submodule_name'],
  neutral: [
    ...['trainer_class', 'lr', 'steps', 'seed', 'device', 'wandb_name', 'warmup_steps', 'decay_start'],
    ...['auxk_alpha', 'top_k_aux', 'threshold_beta', 'threshold_start_step', 'resample_steps', 'norm_factor'],
    ...[
      'l1_penalty',
      'sparsity_warmup_steps',
      'sparsity_penalty',
      'sparsity_function',
      'bandwidth',
      'target_l0',
    ],
    ...['group_fractions', 'group_weights', 'group_sizes', 'p_start', 'p_end', 'anneal_start', 'anneal_end'],
    ...['sparsity_queue_length', 'n_sparsity_updates', 'initial_sparsity_penalty', 'lambda_warmup_steps'],
    ...['normalize_activations', 'lp_loss', 'l0_coefficient', 'k_anneal_steps'],
  ],
  refused: {
    n_heads: off('one dictionary for each attention head'),
    num_layers: off('a crosscoder'),
    n_layers: off('a crosscoder'),
  },
};

/** `buffer`. */
export const BUFFER_KEYS: KeyTable = {
  whose: 'a buffer of dictionary_learning',
  used: ['d_submodule', 'io', 'ctx_len'],
  neutral: ['n_ctxs', 'refresh_batch_size', 'out_batch_size', 'device'],
  refused: {
    head: { harmless: [null], means: 'rows of one attention head' },
    apply_W_O: off('rows of attention heads before they are added up'),
    remove_bos: { harmless: [false, null, true], means: 'other positions' },
  },
};

/** Outermost. */
export const CONFIG_KEYS: KeyTable = {
  whose: "dictionary_learning's config.json",
  used: ['trainer', 'buffer'],
  neutral: ['seed', 'steps', 'wandb_project', 'wandb_entity'],
  refused: {},
};
